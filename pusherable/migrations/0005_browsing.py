from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pusherable", "0004_webhook"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="accessevent",
            options={
                "default_permissions": ("view",),
                "permissions": [
                    ("export_accessevent", "Can export access events"),
                    ("replay_accessevent", "Can send access events again"),
                ],
                "verbose_name": "access event",
                "verbose_name_plural": "access events",
            },
        ),
        migrations.AddIndex(
            model_name="accessevent",
            index=models.Index(fields=["username", "-id"], name="pusherable_username"),
        ),
    ]
