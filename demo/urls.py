from django.urls import include, path
from newsroom import views

urlpatterns = [
    path("", views.Desk.as_view(), name="desk"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("articles/new/", views.ArticleCreate.as_view(), name="article-create"),
    path("articles/<int:pk>/", views.ArticleDetail.as_view(), name="article-detail"),
    path("articles/<int:pk>/edit/", views.ArticleUpdate.as_view(), name="article-update"),
    path("articles/<int:pk>/delete/", views.ArticleDelete.as_view(), name="article-delete"),
    path("pusherable/", include("pusherable.urls")),
]
