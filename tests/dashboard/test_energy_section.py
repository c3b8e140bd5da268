"""Energy on the Compare and Corpus pages: figures recomputed by hand from fields that can be edited."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from dashboard import formats


def script(watts: float | None, networks: int) -> None:
    from core.profiling import Latency
    from dashboard.compare import energy
    from dashboard.server.timing import Timed

    times = (100.0, 50.0, 25.0)[:networks]
    energy.section(
        [Timed(Latency(each, each, each, each, each, 7), "torch", "", False, watts) for each in times],
        ("A", "B", "C")[:networks],
    )


def figures(page: AppTest) -> list[str]:
    return [
        text.value.partition("  \n")[0].replace(formats.NBSP, " ")
        for text in page.markdown
        if ":blue[" in text.value
    ]


def test_figures_follow_the_fields() -> None:
    """100 ms × 1e6 × 36 W × 1.5 = 5.4 MJ = 1.5 kWh, at 400 g 600 g; 10 sensors × 365 × 24 × 360 clips are 31.536 times as many."""
    page = AppTest.from_function(script, args=(36.0, 2)).run()
    assert not page.exception
    assert page.number_input(key="energy_watts").value == 36.0
    page.number_input(key="energy_pue").set_value(1.5)
    page.number_input(key="energy_grid").set_value(400.0)
    page.number_input(key="energy_sensors").set_value(10)
    page.run()
    assert figures(page) == [
        ":blue[**1.50 kWh**] → :orange[**750 Wh**]",
        ":blue[**600 g**] → :orange[**300 g**]",
        ":blue[**47.3 kWh**] → :orange[**23.7 kWh**]",
        ":blue[**18.9 kg**] → :orange[**9.46 kg**]",
    ]


def test_a_third_network_has_a_line_in_every_card() -> None:
    page = AppTest.from_function(script, args=(36.0, 3)).run()
    shown = [text.value.replace(formats.NBSP, " ") for text in page.markdown if ":green[" in text.value]
    assert len(shown) == 4
    assert shown[0].startswith(":small[:green[C]]  \n**")
    assert all(text.endswith(":gray-badge[−75.0 %]") for text in shown)


def test_without_a_counter_the_power_is_stated_and_sourced() -> None:
    page = AppTest.from_function(script, args=(None, 2)).run()
    shown = " ".join(text.value for text in page.caption)
    assert shown.startswith("An estimate, not a measurement")
    for source in ("Cloud Carbon Footprint", "Uptime Institute", "IEA", "no energy counter (RAPL)"):
        assert source in shown


def corpus_script() -> None:
    from core.profiling import Latency
    from dashboard.corpus import energy
    from dashboard.server.timing import Timed

    times = {"one": 100.0, "two_2": 50.0}
    energy.estimates(
        {
            name: Timed(Latency(each, each, each, each, each, 7), "torch", "", False, 36.0)
            for name, each in times.items()
        },
        sound_s=7200.0,
    )


def test_a_data_set_by_hand() -> None:
    """1,000 h are 360,000 clips of 10 s: at 0.1 s each 36,000 s, × 36 W × 1.5 = 1.944 MJ = 0.54 kWh, at 400 g 216 g."""
    page = AppTest.from_function(corpus_script).run()
    assert not page.exception
    assert page.number_input(key="corpus_hours").value == 2.0
    page.number_input(key="energy_pue").set_value(1.5)
    page.number_input(key="energy_grid").set_value(400.0)
    page.number_input(key="corpus_hours").set_value(1000.0)
    page.run()
    shown = page.table[0].value.map(lambda text: text.replace(formats.NBSP, " ")).to_numpy().tolist()
    assert shown == [
        ["one", "100 ms", "10.0 h", "540 Wh", "216 g"],
        [r"two\_2", "50 ms", "5.00 h", "270 Wh", "108 g"],
    ]


def test_energies() -> None:
    shown = [
        formats.energy(kwh).replace(formats.NBSP, " ") for kwh in (0, 1.54e-5, 0.00099949, 0.0009996, 519.3)
    ]
    assert shown == ["0 Wh", "15.4 mWh", "999 mWh", "1.00 Wh", "519 kWh"]


def test_durations() -> None:
    shown = [formats.duration(s).replace(formats.NBSP, " ") for s in (0.4, 83, 3599.4, 3599.6, 12_500)]
    assert shown == ["0 s", "1 min 23 s", "59 min 59 s", "1.00 h", "3.47 h"]


def test_masses() -> None:
    assert [formats.mass(kg).replace(formats.NBSP, " ") for kg in (0, 0.0123, 999.4, 999.6, 1520)] == [
        "0 g",
        "12.3 g",
        "999 kg",
        "1.00 t",
        "1.52 t",
    ]
