/* Whichever allocation fails between a message and the unit of work that answers it: -ENOMEM, nothing left behind, and
 * no message that is less than whole. Leaks are the sanitizer build's to see. */
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "common/tenant.h"
#include "tests/support/fail_alloc.h"
#include "worker/completion.h"
#include "worker/decode.h"
#include "worker/unit.h"

#define ALLOCATIONS_MAX 1000
#define P               6
#define KEY             "acme/ann@contoso.example"
#define FRONT                                                                               \
    "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42\",\"type\":\"folders\",\"tenant\":" \
    "\"acme\","                                                                             \
    "\"mailbox\":\"ann@contoso.example\",\"lane\":\"live\",\"attempt\":2,"

/* Calls once with each allocation failing, until none is left to fail. The call returns 0 or -errno. */
static void for_every_allocation(int (*call)(void))
{
    unsigned n = 1;

    fail_alloc_at(0);
    assert_int_equal(call(), 0);
    for (;; n++) {
        int r;

        assert_true(n < ALLOCATIONS_MAX);
        fail_alloc_at(n);
        r = call();
        if (!fail_alloc_hit()) {
            assert_int_equal(r, 0);
            break;
        }
        fail_alloc_at(0);
        if (r != -ENOMEM)
            fail_msg("allocation %u failed, and the call said %d", n, r);
    }
    fail_alloc_at(0);
    assert_true(n > 1); /* there was something to fail */
}

static int decode(const char *value, int want, bool want_feedback)
{
    const struct cs_kafka_msg msg = {
        .topic = CS_TOPIC_JOBS,
        .partition = cs_key_partition("acme", "ann@contoso.example", P),
        .key = KEY,
        .key_len = strlen(KEY),
        .value = value,
        .value_len = strlen(value),
    };
    struct cs_refusal why;
    struct cs_job job;
    int r = cs_decode_job(&msg, P, 0, &job, &why);

    if (r == 0)
        cs_job_clear(&job);
    if (r == -ENOMEM)
        return r;
    /* what is said is the whole truth: a reject that is owed is not left out */
    return r == want && why.has_feedback == want_feedback ? 0 : -EIO;
}

static int decode_job(void)
{
    return decode(FRONT "\"reason\":\"cycle\",\"created_at\":\"2025-12-31T23:00:00.000Z\"}", 0,
                  false);
}

static int decode_refused(void)
{
    return decode(FRONT "\"parts\":7}", -EINVAL, true);
}

static int make_records(struct cs_record records[2])
{
    static char name[] = "acme";
    static const struct cs_tenant acme = {.name = name};
    static const struct cs_record_ctx ctx = {
        .tenant = &acme,
        .mailbox = "ann@contoso.example",
        .job_id = "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42",
        .lane = "live",
        .max_bytes = CS_RECORD_DEFAULT_BYTES,
    };
    int r = cs_record_removed(&ctx, CS_KIND_EMAIL, CS_LEFT_SCOPE, "one", "one", &records[0]);

    if (r == 0)
        r = cs_record_removed(&ctx, CS_KIND_EMAIL, CS_DELETED, "two", "two", &records[1]);
    records[0].change = CS_UPSERTED; /* as far as the unit is concerned */
    return r;
}

static int fill_unit(void)
{
    struct cs_feedback f = {.type = CS_JOB_FOLDERS, .attempt = 1, .retry_after_ms = -1};
    const struct cs_dlq d = {
        .topic = CS_TOPIC_JOBS, .reason = CS_DLQ_JOB_INVALID, .detail = "parts"};
    struct cs_record records[2] = {{0}};
    struct cs_unit *u = cs_unit_new(1, 2);
    int r = u != NULL ? make_records(records) : -ENOMEM;

    strcpy(f.job_id, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42");
    strcpy(f.tenant, "acme");
    strcpy(f.mailbox, "ann@contoso.example");
    if (r == 0)
        r = cs_unit_add_records(u, records, 2, true);
    if (r == 0)
        r = cs_unit_add_feedback(u, &f);
    if (r == 0)
        r = cs_unit_add_dead_letter(u, &d, KEY, strlen(KEY));
    for (int s = 0; u != NULL && s < CS_STAGE_COUNT_; s++)
        for (size_t i = 0; i < u->n[s]; i++)
            if (u->messages[s][i].key == NULL ||
                (u->messages[s][i].value == NULL && u->messages[s][i].value_len > 0))
                r = -EIO; /* counted, but not whole */
    cs_record_clear(&records[0]);
    cs_record_clear(&records[1]);
    cs_unit_free(u);
    return r;
}

static int follow_completion(void)
{
    struct cs_completion *c = NULL;
    struct cs_buf map;
    int r = cs_completion_new(10, "1;1,2;4,1", &c);

    cs_buf_init(&map, 0);
    for (int64_t i = 10; r == 0 && i < 300; i++) {
        r = cs_completion_deliver(c, i);
        r = r == -EALREADY ? 0 : r;
        if (i % 2 == 0 && r == 0)
            cs_completion_mark(c, i, true);
    }
    if (r == 0) {
        (void)cs_completion_commit(c, &map);
        r = cs_buf_failed(&map);
    }
    cs_buf_clear(&map);
    cs_completion_free(c);
    return r;
}

static void test_messages_without_memory(void **state)
{
    (void)state;
    for_every_allocation(decode_job);
    for_every_allocation(decode_refused);
}

static void test_units_without_memory(void **state)
{
    (void)state;
    for_every_allocation(fill_unit);
}

static void test_completion_without_memory(void **state)
{
    (void)state;
    for_every_allocation(follow_completion);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_without_memory),
        cmocka_unit_test(test_units_without_memory),
        cmocka_unit_test(test_completion_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
