from django import forms

from newsroom.models import Article


class ArticleForm(forms.ModelForm):
    class Meta:
        model = Article
        fields = ["headline", "standfirst", "section", "byline", "status", "date", "body"]
        widgets = {
            "standfirst": forms.Textarea(attrs={"rows": 3}),
            "date": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            "body": forms.Textarea(attrs={"rows": 18}),
        }

    def __init__(self, *args, **kwargs):
        super().__init__(*args, label_suffix="", **kwargs)

    def clean_body(self):
        # Browsers send CRLF: kept, every first save would count as a change of the body.
        return self.cleaned_data["body"].replace("\r\n", "\n")
