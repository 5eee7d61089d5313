"""Rendering with the tags, and reading the result as a browser would."""

from html.parser import HTMLParser

from django.template import Context, Template


class Parser(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def render(source, **context):
    return Template("{% load pusherable_tags %}" + source).render(Context(context))


def elements(source, tag, **context):
    """The attributes of every such element."""
    return [attributes for name, attributes in Parser(render(source, **context)).elements if name == tag]
