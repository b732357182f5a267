/* test_sanitizer.c - is the sanitizer of this build awake, and does it leave librdkafka alone?
 *
 *   test_sanitizer kafka   librdkafka's own threads at work on its mock cluster: no report
 *   test_sanitizer race    two threads, one counter, no lock: a thread sanitizer build must fail
 *   test_sanitizer heap    one byte past a buffer: an address sanitizer build must fail
 */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

#define MESSAGES 500

/* Written by the delivery callback, read by the main thread: librdkafka's locks order the two. */
static int delivered;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *user)
{
    (void)rk;
    (void)user;
    if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        delivered++;
}

static int run_kafka(void)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char errstr[256];
    rd_kafka_t *rk;
    int i;

    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    if (rd_kafka_conf_set(conf, "test.mock.num.brokers", "2", errstr, sizeof(errstr)) !=
            RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "log_level", "3", errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "%s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return 1;
    }
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
    if (rk == NULL) {
        fprintf(stderr, "%s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return 1;
    }
    for (i = 0; i < MESSAGES; i++) {
        if (rd_kafka_producev(rk, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_VALUE(&i, sizeof(i)),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                              RD_KAFKA_V_END) != RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        (void)rd_kafka_poll(rk, 0); /* the number of callbacks served is of no use here */
    }
    if (rd_kafka_flush(rk, 20000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fprintf(stderr, "flush: timed out\n");
    rd_kafka_destroy(rk);
    if (delivered != MESSAGES)
        fprintf(stderr, "%d of %d delivered\n", delivered, MESSAGES);
    return delivered == MESSAGES ? 0 : 1;
}

static int counter;

static int count(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 100000; i++)
        counter++;
    return 0;
}

/* Through the C11 functions, so that it is also their stand-in that must make the threads known. */
static int run_race(void)
{
    thrd_t a, b;

    if (thrd_create(&a, count, NULL) != thrd_success)
        return 0;
    if (thrd_create(&b, count, NULL) != thrd_success)
        return 0;
    thrd_join(a, NULL);
    thrd_join(b, NULL);
    return 0;
}

static int run_heap(void)
{
    volatile size_t past = 8;
    char *p = malloc(past);

    if (p == NULL)
        return 0;
    memset(p, 1, past);
    printf("%d\n", p[past]);
    free(p);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "kafka") == 0)
        return run_kafka();
    if (argc == 2 && strcmp(argv[1], "race") == 0)
        return run_race();
    if (argc == 2 && strcmp(argv[1], "heap") == 0)
        return run_heap();
    fprintf(stderr, "usage: test_sanitizer kafka|race|heap\n");
    return 64;
}
