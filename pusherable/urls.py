"""``path("pusherable/", include("pusherable.urls"))``: what pages, and Pusher, ask of this package."""

from django.urls import path

from pusherable import views

app_name = "pusherable"
urlpatterns = [
    path("auth/", views.auth, name="auth"),
    path("changed/", views.changed, name="changed"),
    path("webhook/", views.webhook, name="webhook"),
]
