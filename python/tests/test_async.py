"""`run_async` and `stream`: live, many at once, ended when nobody wants them."""

import asyncio
import resource
import threading
import time

import pytest

import wardian


def test_many_at_once():
    async def main():
        return await asyncio.gather(*(wardian.run_async(f"print({n})") for n in range(100)))

    reports = asyncio.run(main())
    assert [str(report.stdout) for report in reports] == [f"{n}\n" for n in range(100)]


def test_more_runs_than_there_are_descriptors_for():
    files = {f"{n}.txt": "x" for n in range(8)}

    async def main():
        runs = (wardian.safe_exec_async("y = 1", {}, files=files) for _ in range(100))
        return await asyncio.gather(*runs)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, limits[1]))
    try:
        assert all(result.report.ok for result in asyncio.run(main()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_threads():
    results = {}

    def work(n):
        results[n] = str(wardian.run(f"print({n})").stdout)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: f"{n}\n" for n in range(64)}


def test_output_comes_live():
    async def main():
        live = wardian.stream("import sys, time\nprint('a')\nsys.stderr.write('ü')\ntime.sleep(1)\nprint('b')")
        chunks, times = [], []
        async for chunk in live:
            chunks.append((chunk.stream, chunk.text))
            times.append(time.monotonic())
        return chunks, times[-1] - times[0], live.report

    chunks, apart, report = asyncio.run(main())
    assert "".join(text for stream, text in chunks if stream == "stdout") == "a\nb\n"
    assert ("stderr", "ü") in chunks
    assert apart > 0.5
    assert report.ok and str(report.stdout) == "a\nb\n"


def test_no_text_is_lost_at_the_end():
    async def main():
        code = "import sys; sys.stdout.buffer.write(b'a\\xc3')"
        return [(chunk.data, chunk.text) async for chunk in wardian.stream(code)]

    chunks = asyncio.run(main())
    assert b"".join(data for data, _ in chunks) == b"a\xc3" and "".join(text for _, text in chunks) == "a\ufffd"


def test_a_stream_that_is_left_ends_its_run(descriptors):
    async def main():
        async with wardian.stream("import time\nprint(1)\ntime.sleep(60)") as live:
            async for chunk in live:
                assert chunk.text.startswith("1")
                break
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(main())
    before = descriptors()
    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 20
    assert descriptors() == before


def test_a_cancelled_task_ends_its_run():
    async def main():
        task = asyncio.create_task(wardian.run_async("import time; time.sleep(60)"))
        await asyncio.sleep(0.5)
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - start

    assert asyncio.run(main()) < 10


def test_a_timeout_of_asyncio():
    async def main():
        await asyncio.wait_for(wardian.run_async("import time; time.sleep(60)"), 0.5)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())


def test_errors_are_the_same():
    async def main():
        with pytest.raises(wardian.UsageError):
            await wardian.run_async("1", wall="soon")
        with pytest.raises(wardian.UsageError):
            async for _ in wardian.stream("1", wall="soon"):
                pass

    asyncio.run(main())


def test_safe_exec_async():
    async def main():
        g = {"x": 1}
        await wardian.safe_exec_async("y = x + 1", g)
        return g

    assert asyncio.run(main()) == {"x": 1, "y": 2}
