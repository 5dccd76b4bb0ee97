from stablenormal.cli.tables import Column, fitting

COLUMNS = (Column("photograph", name=True), Column("pixels", right=True), Column("result", name=True))
ROWS = [("holiday/2026/summer/beach.jpg", "4000 x 3000", "beach_normal.png"), ("b.jpg", "1 x 1", "b.png")]


def test_names_make_way_at_their_beginning_and_numbers_stay() -> None:
    shown = fitting(COLUMNS, ROWS, 50)
    assert all(len(row[0]) + 11 + len(row[2]) + 4 <= 50 for row in shown)
    assert shown[0][0].startswith("…") and shown[0][0].endswith("beach.jpg")
    assert shown[0][1] == "4000 x 3000" and shown[1] == list(ROWS[1])


def test_a_wide_screen_shows_everything() -> None:
    assert fitting(COLUMNS, ROWS, 200) == [list(row) for row in ROWS]
    assert fitting((Column("only numbers"),), [("1234567",)], 3) == [["1234567"]]
