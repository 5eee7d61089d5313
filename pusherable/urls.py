"""``path("pusherable/", include("pusherable.urls"))``: what the pages of this package ask for."""

from django.urls import path

from pusherable import views

app_name = "pusherable"
urlpatterns = [path("auth/", views.auth, name="auth")]
