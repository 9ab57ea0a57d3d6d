from lowshot import catalogue
from lowshot.protocols.published import figures
from lowshot.protocols.systems import published_systems


def test_every_system_of_every_table_is_named_with_the_tables_that_print_it():
    printed = {(figure.method.partition("[")[0], f"{figure.paper} {figure.table}") for figure in figures()}
    listed = {(each.name.partition(",")[0], table) for each in published_systems() for table in each.tables}
    assert listed == printed


def test_what_is_said_to_be_here_is_in_the_catalogue():
    for each in published_systems():
        assert (each.method in catalogue.CATALOGUE) == (each.standing == "implemented")


def test_what_is_quoted_only_and_what_is_missing_is_said():
    standing = {each.name: each.standing for each in published_systems()}
    quoted = {name for name, word in standing.items() if word == "quoted only"}
    many = {f"{name}, non-low-shot" for name in ("zhou-et-al", "densevnet", "u-net-3d")}
    assert quoted == many | {"scs, 220 images reported"}
    assert standing["u-net-3d+aug, 20 training scans"] == "implemented"
    assert {name for name, word in standing.items() if word == "missing"} == {"mabmis"}
