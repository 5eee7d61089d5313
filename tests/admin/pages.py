"""Reading the pages of the event browser."""

from html.parser import HTMLParser

LIST = "/admin/pusherable/accessevent/"


class Links(HTMLParser):
    """The links of a page, as (text, address)."""

    def __init__(self, text):
        super().__init__()
        self.found, self._address = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self._address, self._text = dict(attrs).get("href", ""), ""

    def handle_data(self, data):
        if self._address is not None:
            self._text += data

    def handle_endtag(self, tag):
        if tag == "a":
            self.found.append((self._text.strip(), self._address))
            self._address = None


def links(response):
    return dict(Links(response.content.decode()).found)


def listed(client, address="", **data):
    """The events of a page, and the page."""
    response = client.get(f"{LIST}{address}", data or None)
    assert response.status_code == 200
    return list(response.context["cl"].result_list), response
