from django.db import models
from django.urls import reverse
from django.utils import timezone


class Status(models.TextChoices):
    REVIEW = "review", "In review"
    DRAFT = "draft", "Draft"
    PUBLISHED = "published", "Published"


class Section(models.TextChoices):
    TOWN_HALL = "townhall", "Town hall"
    BUSINESS = "business", "Business"
    SCIENCE = "science", "Science"
    ENVIRONMENT = "environment", "Environment"
    HEALTH = "health", "Health"
    EDUCATION = "education", "Education"
    CULTURE = "culture", "Culture"
    SPORT = "sport", "Sport"
    OPINION = "opinion", "Opinion"


class Article(models.Model):
    headline = models.CharField(max_length=120)
    standfirst = models.CharField(max_length=220, help_text="One or two sentences under the headline.")
    section = models.CharField(max_length=20, choices=Section)
    byline = models.CharField(max_length=80)
    status = models.CharField(max_length=20, choices=Status, default=Status.DRAFT)
    date = models.DateField("publication date", default=timezone.localdate)
    body = models.TextField(help_text="Leave an empty line between paragraphs.")

    class Meta:
        ordering = ["-date", "pk"]

    def __str__(self):
        return self.headline

    def get_absolute_url(self):
        return reverse("article-detail", args=[self.pk])

    @property
    def word_count(self):
        return len(self.body.split())
