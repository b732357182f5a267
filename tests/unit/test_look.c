/* What follows from what a job saw of an item: the table, and every combination against the rules in their shortest form. */
#include "worker/look.h"

#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#define A "folder-a"
#define B "folder-b"

struct row {
    const char *name;
    struct cs_sight sight;
    enum cs_act act;
    int seen; /* of the look owed; -1: none */
};

static struct cs_look asked_gone = {.why = CS_WHY_LOOK, .seen = CS_SEEN_GONE};
static struct cs_look asked_excluded = {.why = CS_WHY_LOOK, .seen = CS_SEEN_EXCLUDED};
static struct cs_look asked_unknown = {.why = CS_WHY_LOOK, .seen = CS_SEEN_UNKNOWN};
static struct cs_look asked_at_a1 = {.why = CS_WHY_LOOK, .seen = CS_SEEN_AT};
static struct cs_look asked_leftover = {.why = CS_WHY_LEFTOVER, .seen = CS_SEEN_NOTHING};
static struct cs_look asked_nothing = {.why = CS_WHY_LOOK, .seen = CS_SEEN_NOTHING};
static char folder_a[] = A, version_1[] = "v1";

#define IN(f, v) .place = CS_PLACE_IN, .folder = (f), .change_key = (v)
#define OUT      .place = CS_PLACE_OUT, .folder = "trash", .change_key = "v1"
#define UNKNOWN  .place = CS_PLACE_UNKNOWN, .folder = "new", .change_key = "v1"

static const struct row table[] = {
    /* told by a walk that publishes, or a list */
    {"told by its own folder",
     {IN(A, "v1"), .told = true, .told_by_folder = true},
     CS_ACT_UPSERT,
     -1},
    {"told by one folder, read in another that did not tell it",
     {IN(B, "v1"), .told = true},
     CS_ACT_UPSERT,
     CS_SEEN_AT},
    {"told, and gone when read", {.gone = true, .told = true}, CS_ACT_NOTHING, CS_SEEN_GONE},
    {"told, and excluded when read: it has never been out",
     {OUT, .told = true},
     CS_ACT_NOTHING,
     -1},
    {"told, and in an unknown folder when read: its first walk speaks",
     {UNKNOWN, .told = true},
     CS_ACT_NOTHING,
     -1},
    {"told, and older than the depth",
     {IN(A, "v1"), .told = true, .too_old = true},
     CS_ACT_NOTHING,
     -1},
    {"listed by a slice", {IN(A, "v1"), .told = true, .is_slice = true}, CS_ACT_UPSERT, -1},
    {"listed by a slice, changed since the anchors",
     {IN(A, "v1"), .told = true, .is_slice = true, .unsettled = true},
     CS_ACT_UPSERT,
     CS_SEEN_AT},
    /* removed from a folder */
    {"removed, told by the folder where it is: moved",
     {IN(B, "v1"), .told = true, .told_by_folder = true, .removed = true, .removed_from = A},
     CS_ACT_MOVED,
     -1},
    {"removed from the folder where it is again: no move",
     {IN(A, "v1"), .told = true, .told_by_folder = true, .removed = true, .removed_from = A},
     CS_ACT_UPSERT,
     -1},
    {"removed, and read in scope: that folder will speak",
     {IN(B, "v1"), .removed = true, .removed_from = A},
     CS_ACT_NOTHING,
     CS_SEEN_AT},
    {"removed, and gone: one 404 proves nothing",
     {.gone = true, .removed = true, .removed_from = A},
     CS_ACT_NOTHING,
     CS_SEEN_GONE},
    {"removed, and excluded",
     {OUT, .removed = true, .removed_from = A},
     CS_ACT_LEFT_SCOPE,
     CS_SEEN_EXCLUDED},
    {"removed, and in an unknown folder",
     {UNKNOWN, .removed = true, .removed_from = A},
     CS_ACT_NOTHING,
     CS_SEEN_UNKNOWN},
    {"removed, and older than the depth",
     {OUT, .removed = true, .removed_from = A, .too_old = true},
     CS_ACT_NOTHING,
     -1},
    /* second looks */
    {"gone twice", {.gone = true, .asked = &asked_gone}, CS_ACT_DELETED, -1},
    {"gone now, excluded before",
     {.gone = true, .asked = &asked_excluded},
     CS_ACT_NOTHING,
     CS_SEEN_GONE},
    {"gone now, in scope before",
     {.gone = true, .asked = &asked_at_a1},
     CS_ACT_NOTHING,
     CS_SEEN_GONE},
    {"excluded twice", {OUT, .asked = &asked_excluded}, CS_ACT_NOTHING, -1},
    {"excluded now, gone before", {OUT, .asked = &asked_gone}, CS_ACT_LEFT_SCOPE, CS_SEEN_EXCLUDED},
    {"excluded now, in scope before",
     {OUT, .asked = &asked_at_a1},
     CS_ACT_LEFT_SCOPE,
     CS_SEEN_EXCLUDED},
    {"the same place and version twice", {IN(A, "v1"), .asked = &asked_at_a1}, CS_ACT_NOTHING, -1},
    {"another version", {IN(A, "v2"), .asked = &asked_at_a1}, CS_ACT_NOTHING, CS_SEEN_AT},
    {"another folder", {IN(B, "v1"), .asked = &asked_at_a1}, CS_ACT_NOTHING, CS_SEEN_AT},
    {"back, gone before", {IN(A, "v1"), .asked = &asked_gone}, CS_ACT_NOTHING, CS_SEEN_AT},
    {"still unknown: until a listing knows the folder",
     {UNKNOWN, .asked = &asked_unknown},
     CS_ACT_NOTHING,
     CS_SEEN_UNKNOWN},
    {"a removal whose read failed, now in scope",
     {IN(A, "v1"), .asked = &asked_nothing},
     CS_ACT_NOTHING,
     CS_SEEN_AT},
    /* left-overs: told by a walk whose read failed */
    {"left over, in scope", {IN(A, "v1"), .asked = &asked_leftover}, CS_ACT_UPSERT, CS_SEEN_AT},
    {"left over, gone", {.gone = true, .asked = &asked_leftover}, CS_ACT_NOTHING, CS_SEEN_GONE},
    {"left over, excluded", {OUT, .asked = &asked_leftover}, CS_ACT_LEFT_SCOPE, CS_SEEN_EXCLUDED},
    {"left over, unknown", {UNKNOWN, .asked = &asked_leftover}, CS_ACT_NOTHING, CS_SEEN_UNKNOWN},
};

static void test_the_table(void **state)
{
    (void)state;
    asked_at_a1.folder = folder_a;
    asked_at_a1.change_key = version_1;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct cs_ruling d;

        cs_look_decide(&table[i].sight, &d);
        if (d.act != table[i].act || d.look_again != (table[i].seen >= 0) ||
            (d.look_again && (int)d.seen != table[i].seen))
            fail_msg("%s: act %d, look %d (%d)", table[i].name, (int)d.act, (int)d.look_again,
                     (int)d.seen);
    }
}

/* ---- the rules, over all combinations ------------------------------------------------------------------ */

static void test_rules_over_all_combinations(void **state)
{
    const struct cs_look *const asks[] = {NULL,           &asked_gone,  &asked_excluded,
                                          &asked_unknown, &asked_at_a1, &asked_leftover,
                                          &asked_nothing};
    const char *const folders[] = {A, B};
    unsigned n = 0;

    (void)state;
    asked_at_a1.folder = folder_a;
    asked_at_a1.change_key = version_1;
    for (unsigned bits = 0; bits < 1u << 8; bits++)
        for (unsigned ask = 0; ask < 7; ask++)
            for (int place = 0; place < 3; place++)
                for (unsigned f = 0; f < 2; f++) {
                    struct cs_sight s = {.gone = bits & 1,
                                         .too_old = bits & 2,
                                         .told = bits & 4,
                                         .told_by_folder = bits & 8,
                                         .removed = bits & 16,
                                         .is_slice = bits & 32,
                                         .unsettled = bits & 64,
                                         .change_key = bits & 128 ? "v1" : "v2",
                                         .folder = folders[f],
                                         .place = (enum cs_place)place,
                                         .asked = asks[ask]};
                    bool mentioned, in, look;
                    struct cs_ruling d;

                    if (s.told_by_folder && !s.told)
                        continue;
                    if (s.asked != NULL && (s.told || s.removed || s.is_slice))
                        continue; /* a job of looks walks nothing */
                    s.removed_from = s.removed ? A : NULL;
                    mentioned = s.told || s.removed || s.asked != NULL;
                    in = !s.gone && s.place == CS_PLACE_IN;
                    look = s.asked != NULL && s.asked->why == CS_WHY_LOOK;
                    cs_look_decide(&s, &d);
                    n++;
                    /* a deletion needs two 404s in a row, and nothing else makes one */
                    assert_int_equal(d.act == CS_ACT_DELETED,
                                     s.gone && look && s.asked->seen == CS_SEEN_GONE);
                    /* only what is in scope now is published, and never by a second look */
                    if (d.act == CS_ACT_UPSERT || d.act == CS_ACT_MOVED)
                        assert_true(in && !s.too_old && !look && (s.told || s.asked != NULL));
                    if (in && s.told && !s.too_old)
                        assert_true(d.act == CS_ACT_UPSERT || d.act == CS_ACT_MOVED);
                    if (d.act == CS_ACT_MOVED)
                        assert_true(s.removed && strcmp(s.folder, s.removed_from) != 0);
                    /* what left the scope was mentioned as gone from a folder, or asked for */
                    if (d.act == CS_ACT_LEFT_SCOPE)
                        assert_true(!s.gone && s.place == CS_PLACE_OUT &&
                                    (s.removed || s.asked != NULL));
                    /* every removal is looked at again, unless the item was told where it is, or is too old */
                    if (s.removed && (s.gone || !s.too_old) && !(in && s.told))
                        assert_true(d.look_again);
                    /* a departure from the scope is looked at again as well, until the same is seen twice */
                    if (d.act == CS_ACT_LEFT_SCOPE)
                        assert_true(d.look_again && d.seen == CS_SEEN_EXCLUDED);
                    /* the same answer twice ends it */
                    if (look && s.gone && s.asked->seen == CS_SEEN_GONE)
                        assert_false(d.look_again);
                    if (look && !s.gone && s.place == CS_PLACE_OUT &&
                        s.asked->seen == CS_SEEN_EXCLUDED)
                        assert_true(!d.look_again && d.act == CS_ACT_NOTHING);
                    /* nobody said anything: nothing follows */
                    if (!mentioned)
                        assert_true(d.act == CS_ACT_NOTHING && !d.look_again);
                    /* what is remembered is what was seen */
                    if (d.look_again)
                        assert_int_equal(d.seen, s.gone                    ? CS_SEEN_GONE
                                                 : s.place == CS_PLACE_IN  ? CS_SEEN_AT
                                                 : s.place == CS_PLACE_OUT ? CS_SEEN_EXCLUDED
                                                                           : CS_SEEN_UNKNOWN);
                }
    assert_true(n > 1000);
}

/* ---- the folder map ------------------------------------------------------------------------------------ */

static void test_the_map_knows_in_out_and_unknown(void **state)
{
    char ids[3][8] = {"zz", "aa", "mm"}, path[] = "Inbox";
    struct cs_folder folders[3] = {{.id = ids[0]}, {.id = ids[1], .path = path}, {.id = ids[2]}};
    uint64_t out[2] = {cs_id_hash("trash"), cs_id_hash("junk")};
    struct cs_job job = {
        .folders = folders, .n_folders = 3, .folders_out = out, .n_folders_out = 2};
    struct cs_map *m;

    (void)state;
    assert_int_equal(cs_map_new(&job, &m), 0);
    assert_int_equal(cs_map_place(m, "aa"), CS_PLACE_IN);
    assert_int_equal(cs_map_place(m, "zz"), CS_PLACE_IN);
    assert_int_equal(cs_map_place(m, "trash"), CS_PLACE_OUT);
    assert_int_equal(cs_map_place(m, "junk"), CS_PLACE_OUT);
    assert_int_equal(cs_map_place(m, "AA"), CS_PLACE_UNKNOWN); /* ids are case-sensitive */
    assert_int_equal(cs_map_place(m, ""), CS_PLACE_UNKNOWN);
    assert_string_equal(cs_map_folder(m, "aa")->path, "Inbox");
    assert_null(cs_map_folder(m, "trash"));
    cs_map_free(m);
    job.n_folders = job.n_folders_out = 0;
    assert_int_equal(cs_map_new(&job, &m), 0);
    assert_int_equal(cs_map_place(m, "aa"), CS_PLACE_UNKNOWN);
    cs_map_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_rules_over_all_combinations),
        cmocka_unit_test(test_the_map_knows_in_out_and_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
