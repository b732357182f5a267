/* Messages of the jobs topic: whatever they hold, they are a job that reads back as the same, or are refused with a
 * reason, and the reject that goes to the producer can be read by it. The first byte chooses how the key looks; then,
 * read as commit metadata, the bytes make a completion map that is bounded and loses no job. */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "worker/completion.h"
#include "worker/decode.h"

#define P 6

static void check_job(const struct cs_job *job)
{
    struct cs_buf one, two;
    struct cs_job again;
    const char *reason;

    cs_buf_init(&one, 0);
    cs_buf_init(&two, 0);
    cs_job_print(job, &one);
    FUZZ_CHECK(cs_buf_failed(&one) == 0);
    FUZZ_CHECK(cs_job_parse(one.data, one.len, &again, &reason) == 0);
    cs_job_print(&again, &two);
    FUZZ_CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    cs_job_clear(&again);
    cs_buf_clear(&one);
    cs_buf_clear(&two);
}

static void check_refusal(const struct cs_refusal *why, int r)
{
    struct cs_feedback f;
    struct cs_buf text;
    const char *reason;

    FUZZ_CHECK((why->reason != NULL) == (r == -EINVAL));
    FUZZ_CHECK(r == -EINVAL || why->has_feedback);
    if (!why->has_feedback)
        return;
    cs_buf_init(&text, 0);
    cs_feedback_print(&why->feedback, &text);
    FUZZ_CHECK(cs_buf_failed(&text) == 0);
    FUZZ_CHECK(cs_feedback_parse(text.data, text.len, &f, &reason) == 0);
    FUZZ_CHECK(f.outcome == CS_REJECT);
    cs_feedback_clear(&f);
    cs_buf_clear(&text);
}

static void check_map(const uint8_t *data, size_t size)
{
    struct cs_completion *c;
    struct cs_buf map;
    char text[8192];

    size = size < sizeof(text) ? size : sizeof(text) - 1;
    memcpy(text, data, size);
    text[size] = '\0';
    FUZZ_CHECK(cs_completion_new(1000, text, &c) == 0);
    for (int64_t i = 1000; i < 1100; i++) {
        bool finished = cs_completion_is_finished(c, i);

        FUZZ_CHECK(cs_completion_deliver(c, i) == (finished ? -EALREADY : 0));
        if (i == 1050)
            cs_completion_mark(c, i, true);
    }
    (void)cs_completion_is_full(c);
    cs_buf_init(&map, 0);
    FUZZ_CHECK(cs_completion_commit(c, &map) >= 1000);
    FUZZ_CHECK(cs_buf_failed(&map) == 0 && map.len <= CS_COMPLETION_MAP_MAX);
    cs_buf_clear(&map);
    cs_completion_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"acme/ann@contoso.example", "acme/bob@contoso.example",
                                       "acme", ""};
    const char *key = size > 0 && data[0] == '{' ? keys[0] : keys[size % 4];
    char copy[65536];
    struct cs_kafka_msg msg = {.topic = CS_TOPIC_JOBS, .key = key, .key_len = strlen(key)};
    struct cs_refusal why;
    struct cs_job job;
    int r;

    if (size > sizeof(copy))
        return 0;
    memcpy(copy, data, size);
    msg.value = copy;
    msg.value_len = size;
    msg.partition = cs_key_partition("acme", "ann@contoso.example", P);
    r = cs_decode_job(&msg, P, INT64_C(1767225600000), &job, &why);
    FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ETIME);
    if (r == 0) {
        check_job(&job);
        cs_job_clear(&job);
    } else {
        check_refusal(&why, r);
    }
    check_map(data, size);
    return 0;
}
