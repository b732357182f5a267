/* devbroker - librdkafka's mock cluster as a process; README.md says what it takes and answers. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#define EXIT_LOSS 70

static const char usage_text[] =
    "usage: devbroker [--brokers N] [--partitions P] [--topic-prefix X] [--topic NAME[:PARTS]]...\n"
    "                 [--fail-on-loss] [--watch-ms MS]\n"
    "Prints {\"bootstrap\":\"...\"} when ready; commands on standard input, see README.md.\n";

/* Lines of two threads go to one stream: the answers and the watcher's events. */
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;
static int loss_fd = -1; /* written by the watcher when a loss must end the process */

struct options {
    int brokers, partitions, watch_ms;
    bool fail_on_loss;
    const char *prefix;
    const char *topics[TOPICS_MAX];
    int n_topics;
};

static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk;
    fprintf(stderr, "devbroker: %d %s: %s\n", level, fac, text);
}

static void on_loss(void *user, const char *topic, int32_t partition, int64_t low)
{
    const struct options *o = user;

    pthread_mutex_lock(&out_lock);
    printf("{\"event\":\"log_start_moved\",\"topic\":\"%s\",\"partition\":%d,\"low\":%lld}\n",
           topic, (int)partition, (long long)low);
    fflush(stdout);
    pthread_mutex_unlock(&out_lock);
    /* a full pipe means that the word is already out */
    if (o->fail_on_loss && write(loss_fd, "!", 1) < 0 && errno != EAGAIN)
        abort();
}

static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"brokers", required_argument, NULL, 'b'},  {"partitions", required_argument, NULL, 'p'},
        {"topic", required_argument, NULL, 't'},    {"topic-prefix", required_argument, NULL, 'x'},
        {"watch-ms", required_argument, NULL, 'w'}, {"fail-on-loss", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        bool ok = true;

        switch (c) {
        case 'b': ok = devbroker_parse_int(optarg, 1, BROKERS_MAX, &o->brokers); break;
        case 'p': ok = devbroker_parse_int(optarg, 1, PARTITIONS_MAX, &o->partitions); break;
        case 'w': ok = devbroker_parse_int(optarg, 0, 60000, &o->watch_ms); break;
        case 'x': o->prefix = optarg; break;
        case 'f': o->fail_on_loss = true; break;
        case 't':
            ok = o->n_topics < TOPICS_MAX;
            if (ok)
                o->topics[o->n_topics++] = optarg;
            break;
        case 'h': fputs(usage_text, stdout); exit(0);
        default: fputs(usage_text, stderr); return EX_USAGE;
        }
        if (!ok) {
            fprintf(stderr, "devbroker: out of range: %s\n", optarg);
            return EX_USAGE;
        }
    }
    if (optind < argc || (o->fail_on_loss && o->watch_ms == 0)) {
        fputs(usage_text, stderr);
        return EX_USAGE;
    }
    return 0;
}

static int create_topics(struct devbroker *b, const struct options *o)
{
    int i;

    for (i = 0; i < o->n_topics; i++) {
        char name[2 * TOPIC_NAME_MAX + 2];
        const char *colon = strrchr(o->topics[i], ':'), *error = "too long";
        int partitions = o->partitions, n;

        if (colon != NULL && !devbroker_parse_int(colon + 1, 1, PARTITIONS_MAX, &partitions)) {
            fprintf(stderr, "devbroker: --topic %s: bad partition count\n", o->topics[i]);
            return EX_USAGE;
        }
        n = snprintf(name, sizeof(name), "%s%.*s", o->prefix,
                     colon != NULL ? (int)(colon - o->topics[i]) : TOPIC_NAME_MAX + 1,
                     o->topics[i]);
        if (n > 0 && (size_t)n < sizeof(name))
            error = devbroker_create_topic(b, name, partitions);
        if (error != NULL) {
            fprintf(stderr, "devbroker: --topic %s: %s\n", o->topics[i], error);
            return EX_USAGE;
        }
    }
    return 0;
}

static int new_cluster(struct devbroker *b, const struct options *o)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char errstr[256], count[16];

    snprintf(count, sizeof(count), "%d", o->brokers);
    rd_kafka_conf_set_log_cb(conf, on_log);
    /* the handle connects to its own mock cluster: it is the watcher's client too */
    if (rd_kafka_conf_set(conf, "test.mock.num.brokers", count, errstr, sizeof(errstr)) !=
            RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "log_level", "2", errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "reconnect.backoff.max.ms", "500", errstr, sizeof(errstr)) !=
            RD_KAFKA_CONF_OK) {
        fprintf(stderr, "devbroker: %s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return EX_SOFTWARE;
    }
    b->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
    if (b->rk == NULL) {
        fprintf(stderr, "devbroker: %s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return EX_UNAVAILABLE;
    }
    b->cluster = rd_kafka_handle_mock_cluster(b->rk);
    b->brokers = o->brokers;
    return 0;
}

/* Reads what is there and runs each whole line. Returns false when the process is to end. */
static bool serve_stdin(struct devbroker *b, char *buf, size_t *used)
{
    ssize_t n = read(STDIN_FILENO, buf + *used, COMMAND_LINE_MAX - *used);
    bool go_on = true;
    char *end;

    if (n <= 0)
        return n < 0 && (errno == EINTR || errno == EAGAIN);
    *used += (size_t)n;
    while (go_on && (end = memchr(buf, '\n', *used)) != NULL) {
        size_t line = (size_t)(end - buf) + 1;

        *end = '\0';
        pthread_mutex_lock(&out_lock);
        go_on = devbroker_command(b, buf, stdout);
        fflush(stdout);
        pthread_mutex_unlock(&out_lock);
        memmove(buf, buf + line, *used - line);
        *used -= line;
    }
    if (*used == COMMAND_LINE_MAX) {
        pthread_mutex_lock(&out_lock);
        fputs("{\"ok\":false,\"error\":\"line too long\"}\n", stdout);
        fflush(stdout);
        pthread_mutex_unlock(&out_lock);
        return false;
    }
    return go_on;
}

/* Blocks until the end. Returns the exit code. */
static int serve(struct devbroker *b, int signal_fd, int loss_read_fd)
{
    struct pollfd fds[] = {
        {.fd = loss_read_fd, .events = POLLIN},
        {.fd = signal_fd, .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
    };
    char buf[COMMAND_LINE_MAX];
    size_t used = 0;

    for (;;) {
        if (poll(fds, 3, -1) < 0) {
            if (errno == EINTR)
                continue;
            return EX_OSERR;
        }
        if (fds[0].revents != 0)
            return EXIT_LOSS;
        if (fds[1].revents != 0)
            return 0;
        if (fds[2].revents != 0 && !serve_stdin(b, buf, &used))
            return 0;
    }
}

int main(int argc, char **argv)
{
    static struct options o = {.brokers = 1, .partitions = 24, .watch_ms = 200, .prefix = ""};
    struct devbroker b = {0};
    int pipe_fds[2] = {-1, -1}, signal_fd, code;
    sigset_t set;

    code = parse_options(argc, argv, &o);
    if (code != 0)
        return code;
    /* before any thread is made, so that all of them leave these to the descriptor */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigdelset(&set, SIGPIPE); /* a reader that left is seen as end of input or not at all */
    signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (signal_fd < 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        perror("devbroker");
        return EX_OSERR;
    }
    loss_fd = pipe_fds[1];
    code = new_cluster(&b, &o);
    if (code != 0)
        goto out;
    if (o.watch_ms > 0 && watch_start(b.rk, o.watch_ms, on_loss, &o, &b.watch) < 0) {
        fputs("devbroker: cannot start the watcher\n", stderr);
        code = EX_OSERR;
        goto out;
    }
    code = create_topics(&b, &o);
    if (code != 0)
        goto out;
    pthread_mutex_lock(&out_lock);
    printf("{\"bootstrap\":\"%s\"}\n", rd_kafka_mock_cluster_bootstraps(b.cluster));
    fflush(stdout);
    pthread_mutex_unlock(&out_lock);
    code = serve(&b, signal_fd, pipe_fds[0]);
out:
    if (!watch_stop(b.watch))
        _exit(code); /* its thread still uses the handle; nothing here outlives the process */
    if (b.rk != NULL)
        rd_kafka_destroy(b.rk); /* and the cluster with it */
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(signal_fd);
    return code;
}
