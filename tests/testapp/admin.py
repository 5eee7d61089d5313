from django.contrib import admin

from tests.testapp.models import Document, Poll, Restaurant

admin.site.register([Document, Poll, Restaurant])
