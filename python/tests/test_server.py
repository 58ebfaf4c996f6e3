"""The client, with a service as it is when nobody has configured it, and a key."""

import asyncio
import re
import subprocess

import pytest

import wardian
from wardian import _binary


@pytest.fixture(scope="module")
def address_and_key(tmp_path_factory):
    made = subprocess.run([_binary.find(), "serve", "--new-key", "tests"], stdout=subprocess.PIPE, text=True, check=True)
    key = re.search(r"wk_\w+", made.stdout).group()
    config = tmp_path_factory.mktemp("service") / "config.toml"
    config.write_text('listen = ["127.0.0.1:0"]\n' + made.stdout)
    command = [_binary.find(), "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        place = next(line for line in service.stderr if "listening" in line)
        yield re.search(r"place=(\S+)", place).group(1), key
        service.terminate()


@pytest.fixture
def client(address_and_key):
    address, key = address_and_key
    return wardian.Client(address, key=key, timeout=60)


def test_without_its_key_nothing_runs(address_and_key):
    for key in (None, "wk_other"):
        with pytest.raises(wardian.ServerError) as caught:
            wardian.Client(address_and_key[0], key=key).run("1")
        assert caught.value.status == 401


def test_globals_and_calls(client):
    g = {"x": 20}
    assert client.safe_exec("y = x + 1; print('out')", g).stdout == "out\n"
    assert g == {"x": 20, "y": 21}
    assert client.call("def f(x, code): return x * code", "f", 21, code=2) == 42


def test_globals_as_large_as_they_may_be(client):
    large = {"x": b"x" * (5 << 20)}
    client.safe_exec("x += b'y'", large)
    assert large["x"] == b"x" * (5 << 20) + b"y"
    with pytest.raises(wardian.UsageError, match="larger than 8388608 bytes"):
        client.safe_exec("1", {"x": b"x" * (7 << 20)})


def test_more_than_it_takes_is_said(client):
    with pytest.raises(wardian.ServerError, match="413: the body has more than"):
        client.run("1", files={"a": b"x" * (40 << 20)})


@pytest.mark.parametrize("limit", [{"memory": "10X"}, {"wall": "soon"}, {"memory": "1T"}])
def test_text_of_a_limit_is_the_servers_to_read(client, limit):
    assert client.run("1", memory="64M", wall="5s").limits.memory_bytes == 64 << 20
    with pytest.raises(wardian.ServerError) as caught:
        client.run("1", **limit)
    assert caught.value.status in (400, 422)


def test_silence_is_said(address_and_key):
    address, key = address_and_key
    impatient = wardian.Client(address, key=key, timeout=1)
    with pytest.raises(wardian.ServerError, match="silent for 1 seconds"):
        impatient.run("import time; time.sleep(9)")
    with pytest.raises(wardian.ServerError, match="silent for 1 seconds"):
        list(impatient.stream("import time; time.sleep(9)"))


def test_output_comes_live(client):
    async def main():
        stream = client.stream("import time; print(1); time.sleep(0.2); print(2)")
        return "".join([chunk.text async for chunk in stream]), stream.report.verdict

    assert asyncio.run(main()) == ("1\n2\n", "ok")
