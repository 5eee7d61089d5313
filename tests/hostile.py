"""What somebody may name things who means the page harm, and how a page has to show it."""

import itertools
import re

from pusherable.snapshots import clean

#: Each would leave a mark if a page took it for more than text: it sets `canary`, or adds an element.
PIECES = [
    "</script><script>canary=1</script>",
    "<script>canary=1</script><!--",
    "<img src=x onerror=canary=1>",
    "\"><img src=x onerror='canary=1'>",
    "'><svg onload=canary=1>",
    '" onfocus="canary=1" autofocus x="',
    "' onmouseover='canary=1",
    "` onclick=`canary=1",
    "</bdi></li></ol></section><b>free</b>",
    "</pusherable-subscribe><iframe srcdoc='<script>parent.canary=1</script>'>",
    "]]><!--><plaintext>",
    "--!><style>*{display:none}</style>",
    "</title></textarea></template><base href=//example.com/>",
    "javascript:canary=1//",
    "${canary=1} `+(canary=1)+`",
    "{{ canary }}{% include 'secret.html' %}{# #}",
    "%(user)s %s %% {user} {name} {0.__class__}",
    "&lt;i&gt; &amp;quot; &#x3c;b&#62; &NotANameOfAny",
    '{"__proto__": {"canary": 1}, "constructor": null}',
    "\u202egnp.exe\u202c \u2066\u05d0\u05d1",
    "\u2069\u202e\u2069\u2067turned",
    "\u200f\u061c\u200e \ufeff\u00ad\u200b\u2028\u2029",
    "a\nb\r\nc\rd\te\x0bf\x0cg",
    "nul\x00 \x01\x1b[31m\x7f\x85 \ufffe\uffff",
    "\ud800<b>\udfff \udc80",
    "\U0001f469\u200d\U0001f680 Z\u0351\u0352\u0353a\u0330\u0331lgo \U0010ffff",
    "<" * 3_000,
    "W" * 10_240,
    "\U0001f600" * 2_600,
]


def hundred() -> list[str]:
    """The pieces, and pairs of them, each with its number."""
    pairs = (first + second for first, second in itertools.permutations(PIECES, 2))
    every = itertools.chain(PIECES, itertools.islice(pairs, 0, None, 11))
    return [f"{number} {text}" for number, text in enumerate(itertools.islice(every, 100))]


def parsed(text: str) -> str:
    """How a browser reads the text in HTML: every line end is one LF."""
    return re.sub("\r\n?", "\n", text)


def in_sentence(text: str) -> str:
    """How the log and then its sentences have a name: cut, and without what turns others around."""
    return re.sub("[\u202a-\u202e\u2066-\u2069]", "", clean(text)[:255])
