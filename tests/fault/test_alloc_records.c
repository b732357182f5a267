/* The n-th allocation fails while records are made: for every n the call says -ENOMEM, leaves nothing behind
 * and works once there is memory again. */
#include <errno.h>
#include <stdlib.h>

#include "tests/support/fail_alloc.h"
#include "tests/unit/graph_sample.h"
#include "worker/email.h"
#include "worker/series.h"

#define ALLOCATIONS_MAX 2000

static struct sample *s;
static struct cs_page message, page, hostile, calendar;

static int one_email(struct cs_js item, struct cs_record *rec)
{
    const struct cs_folder_ref folder = {"F", "Inbox", "inbox"};

    return cs_email_record(&s->ctx, item, &folder, CS_UPSERTED, NULL, (struct cs_js){0}, rec);
}

static int whole_message(struct cs_record *rec)
{
    return one_email(message.root, rec);
}

static int hostile_message(struct cs_record *rec)
{
    return one_email(hostile.root, rec);
}

static int invitation(struct cs_record *rec)
{
    return one_email(sample_item(&page, 1), rec);
}

static int occurrence(struct cs_record *rec)
{
    const struct cs_folder_ref cal = {"C", NULL, NULL};

    return cs_event_record(&s->ctx, &cal, sample_item(&calendar, 0), sample_item(&calendar, 1),
                           CS_UPSERTED, rec);
}

static int series(struct cs_record *rec)
{
    static const char *const occurrences[] = {"m_20260323T080000Z"};
    const struct cs_series_parts parts = {.occurrences = occurrences, .n_occurrences = 1};

    return cs_series_record(&s->ctx, NULL, sample_item(&calendar, 1), &parts, CS_UPSERTED, rec);
}

static int removed(struct cs_record *rec)
{
    return cs_record_removed(&s->ctx, CS_KIND_EMAIL, CS_DELETED, "x", "x", rec);
}

static int index_too(struct cs_record *rec)
{
    char *index;
    size_t len;
    int r = whole_message(rec);

    if (r < 0)
        return r;
    r = cs_index_entry(rec, true, &index, &len);
    if (r < 0) {
        cs_record_clear(rec);
        return r;
    }
    free(index);
    return 0;
}

/* A record that comes out is the one that comes out with enough memory, byte for byte. */
static void for_every_allocation(int (*make)(struct cs_record *rec))
{
    struct cs_record whole, rec;
    unsigned n = 1;

    fail_alloc_at(0);
    assert_int_equal(make(&whole), 0);
    for (;; n++) {
        int r;
        bool hit;

        assert_true(n < ALLOCATIONS_MAX);
        fail_alloc_at(n);
        r = make(&rec);
        hit = fail_alloc_hit();
        fail_alloc_at(0);
        if (!hit) {
            assert_int_equal(r, 0);
            assert_int_equal(rec.value_len, whole.value_len);
            assert_memory_equal(rec.value, whole.value, whole.value_len);
            cs_record_clear(&rec);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        assert_null(rec.value);
        assert_null(rec.key);
        assert_null(rec.item_id);
        assert_null(rec.folder_id);
    }
    cs_record_clear(&whole);
    assert_true(n > 3); /* some did fail */
}

#define TEST(name)                        \
    static void test_##name(void **state) \
    {                                     \
        (void)state;                      \
        for_every_allocation(name);       \
    }

TEST(whole_message)
TEST(hostile_message)
TEST(invitation)
TEST(occurrence)
TEST(series)
TEST(removed)
TEST(index_too)

static int setup(void **state)
{
    fail_alloc_at(0);
    if (sample_setup(state) < 0)
        return -1;
    s = *state;
    message = sample_file(s, "message.json");
    page = sample_file(s, "messages_page.json");
    hostile = sample_file(s, "message_hostile.json");
    calendar = sample_file(s, "calendar_delta.json");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_message), cmocka_unit_test(test_hostile_message),
        cmocka_unit_test(test_invitation),    cmocka_unit_test(test_occurrence),
        cmocka_unit_test(test_series),        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_index_too),
    };

    return cmocka_run_group_tests(tests, setup, sample_teardown);
}
