from django.contrib.auth import get_user_model, login
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.messages.views import SuccessMessageMixin
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.urls import reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.generic import CreateView, DeleteView, DetailView, ListView, UpdateView

from newsroom.forms import ArticleForm
from newsroom.models import Article, Status
from pusherable.mixins import PusherCreateMixin, PusherDeleteMixin, PusherDetailMixin, PusherUpdateMixin


class Desk(LoginRequiredMixin, ListView):
    model = Article
    template_name = "newsroom/desk.html"

    def get_context_data(self, **kwargs):
        context = super().get_context_data(**kwargs)
        articles = context["article_list"]
        context["piles"] = [
            (status, [article for article in articles if article.status == status]) for status in Status
        ]
        return context


# LoginRequiredMixin stands first: who is not allowed in has not viewed anything.
class ArticleDetail(LoginRequiredMixin, PusherDetailMixin, DetailView):
    model = Article


class ArticleUpdate(LoginRequiredMixin, PusherUpdateMixin, SuccessMessageMixin, UpdateView):
    model = Article
    form_class = ArticleForm
    success_message = "Your changes are saved."


class ArticleCreate(LoginRequiredMixin, PusherCreateMixin, SuccessMessageMixin, CreateView):
    model = Article
    form_class = ArticleForm
    success_message = "The article is on the desk."

    def get_initial(self):
        return {"byline": self.request.user.get_full_name()}


class ArticleDelete(LoginRequiredMixin, PusherDeleteMixin, SuccessMessageMixin, DeleteView):
    model = Article
    success_url = reverse_lazy("desk")

    def get_success_message(self, cleaned_data):  # noqa: ARG002
        return f"“{self.object}” is deleted."


def people(request):
    """Context processor: the people whom one can be, and the site's other address.

    Cookies belong to a host name, so one browser is two people at 127.0.0.1 and at localhost.
    """
    host, _, port = request.get_host().partition(":")
    other_host = "127.0.0.1" if host == "localhost" else "localhost"
    return {
        "people": get_user_model().objects.order_by("username"),
        "other_address": f"{request.scheme}://{other_host}:{port}{request.path}",
    }


def sign_in(request):
    """One click and no password: only a demo on one's own machine may do this."""
    onward = request.POST.get("next") or request.GET.get("next") or ""
    if not url_has_allowed_host_and_scheme(onward, allowed_hosts={request.get_host()}):
        onward = resolve_url("desk")
    if request.method == "POST":
        login(request, get_object_or_404(get_user_model(), username=request.POST.get("person")))
        return redirect(onward)
    return render(request, "newsroom/sign_in.html", {"next": onward})
