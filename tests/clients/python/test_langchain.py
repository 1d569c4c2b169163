"""LangChain's OpenAI integration."""

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from conftest import EMAIL, ENGINE, FAKE, GRAMMAR, KEY, MASKED, gateway_only


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def chat(url, model="tiny", key=KEY, **options):
    return ChatOpenAI(base_url=f"{url}/v1", api_key=key, model=model, **options)


def test_plain():
    answer = chat(ENGINE, max_tokens=8).invoke("Say hello")
    assert isinstance(answer.content, str) and answer.usage_metadata["output_tokens"] > 0


def test_streamed_usage_is_not_added_up_twice():
    whole = None
    for chunk in chat(ENGINE, max_tokens=8, stream_usage=True).stream("Say hello"):
        whole = chunk if whole is None else whole + chunk
    assert 0 < whole.usage_metadata["output_tokens"] <= 9


def test_embeddings():
    # The length check would fetch a tokeniser from the network.
    embeddings = OpenAIEmbeddings(
        base_url=f"{ENGINE}/v1", api_key=KEY, model="tiny", check_embedding_ctx_length=False
    )
    one, two = embeddings.embed_documents(["first", "second"])
    assert len(one) == len(two) > 0


def test_tools_there_and_back():
    model = chat(FAKE, "m").bind_tools([weather])
    messages = [HumanMessage("How is the weather in Lisbon?")]
    answer = model.invoke(messages)
    call = answer.tool_calls[0]
    assert (call["name"], call["args"]) == ("weather", {"city": "Lisbon"})
    messages += [answer, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
    assert model.invoke(messages).content == "The tool said: sunny in Lisbon"


def test_tools_streamed():
    whole = None
    for chunk in chat(FAKE, "m").bind_tools([weather]).stream("How is the weather in Lisbon?"):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["args"] == {"city": "Lisbon"}


@gateway_only
def test_errors():
    with pytest.raises(openai.AuthenticationError):
        chat(FAKE, "m", key="tg_dev_" + "0" * 64).invoke("hello")
    with pytest.raises(openai.BadRequestError) as caught:
        chat(FAKE, "m").invoke(f"Mail {EMAIL} now")
    assert caught.value.code == "PII_DETECTED"


@gateway_only
def test_a_broken_stream_raises(fake, fresh_gateway):
    model = fake.script(content={"steps": [{"text": "half an "}, {"text": "answer "}, {"fault": "close"}]})
    with pytest.raises(openai.APIError):
        list(chat(fresh_gateway, model).stream("hello"))


@gateway_only
def test_forced_email_is_masked_in_a_stream():
    pieces = chat(ENGINE, max_tokens=200, extra_body={"grammar": GRAMMAR}).stream("hello")
    assert "".join(piece.content for piece in pieces) == MASKED
