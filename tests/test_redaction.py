import pytest

from pusherable.redaction import is_secret
from tests.testapp.models import Poll, PollProxy, Restaurant


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password", "PASSWORD", "user_password", "userPassword", "userpassword", "password2"),
        *("passwd", "passWord", "pass_phrase", "passphrase", "passcode", "pwd", "db_pwd", "password_hash"),
        *("api_key", "apiKey", "apikey", "APIKey", "api-key", "X-Api-Key", "api_key_id"),
        *("token", "auth_token", "authToken", "access_tokens", "token_hash", "csrfmiddlewaretoken", "jwt"),
        *("secret", "client_secret", "clientSecret", "secret_key", "secrets", "secret2", "credentials"),
        *("private_key", "privateKey", "signing_key", "session_key", "encryption_key", "access_key_id"),
        *("otp", "user_otp", "salt", "cvv", "card_cvc"),
    ],
)
def test_names_that_are_secret_by_themselves(name):
    assert is_secret(name, ())


@pytest.mark.parametrize(
    "name",
    [
        *("secretary", "secretariat", "tokenizer", "tokenize", "passenger", "passport", "compass", "bypass"),
        *("monkey", "keyboard", "key", "keyword", "primary_key", "public_key", "turkey"),
        *("salted_butter", "basalt", "saltwater", "option", "api", "author", "question", "id", ""),
    ],
)
def test_names_that_only_look_like_it(name):
    assert not is_secret(name, ())


@pytest.mark.parametrize(
    ("name", "entry", "secret"),
    [
        ("ssn", "ssn", True),
        ("patient_ssn", "ssn", True),
        ("patientSSN", "ssn", True),
        ("SSN-Number", "ssn", True),
        ("lessness", "ssn", False),
        ("assn", "ssn", False),
        ("home_address", "homeAddress", True),
        ("address", "home_address", False),
        ("пароль", "пароль", True),
        ("мой_пароль", "пароль", True),
        ("имя", "пароль", False),
    ],
)
def test_the_project_adds_words_of_its_own(name, entry, secret):
    assert is_secret(name, [entry]) is secret


@pytest.mark.parametrize(
    ("model", "entry", "secret"),
    [
        (Poll, "testapp.poll.question", True),
        (Poll, "testapp.Poll.Question", True),
        (Poll, "testapp.document.question", False),
        (PollProxy, "testapp.poll.question", True),
        (PollProxy, "testapp.pollproxy.question", True),
        (Restaurant, "testapp.place.question", True),
        (Restaurant, "testapp.restaurant.question", True),
        (None, "testapp.poll.question", False),
    ],
)
def test_an_entry_may_name_one_field_of_a_model(model, entry, secret):
    assert is_secret("question", [entry], model) is secret
