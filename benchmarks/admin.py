"""So that events of articles have somewhere to lead to."""

from django.contrib import admin

from benchmarks.models import Article

admin.site.register(Article)
