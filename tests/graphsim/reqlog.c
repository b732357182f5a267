/* reqlog.c - a ring of requests. */
#include "reqlog.h"

#include <stdlib.h>

#define LINES 8192

struct sim_log {
    pthread_mutex_t lock;
    struct sim_log_line *line;
    uint64_t n; /* ever */
};

void sim_log_init(struct sim *sim)
{
    sim->log = sim_alloc(1, sizeof(*sim->log));
    pthread_mutex_init(&sim->log->lock, NULL);
    sim->log->line = sim_alloc(LINES, sizeof(*sim->log->line));
}

void sim_log_clear(struct sim *sim)
{
    if (sim->log == NULL)
        return;
    pthread_mutex_destroy(&sim->log->lock);
    free(sim->log->line);
    free(sim->log);
    sim->log = NULL;
}

void sim_log_add(struct sim *sim, const struct sim_log_line *line)
{
    struct sim_log *l = sim->log;

    pthread_mutex_lock(&l->lock);
    l->line[l->n % LINES] = *line;
    l->line[l->n % LINES].no = l->n + 1;
    l->n++;
    pthread_mutex_unlock(&l->lock);
}

void sim_log_write(struct sim *sim, size_t last, uint64_t since, struct sim_jw *w)
{
    struct sim_log *l = sim->log;
    uint64_t from;

    sim_jw_open(w, '[');
    pthread_mutex_lock(&l->lock);
    if (last > LINES)
        last = LINES;
    from = l->n > last ? l->n - last : 0;
    if (from < since)
        from = since;
    for (uint64_t i = from; i < l->n; i++) {
        const struct sim_log_line *line = &l->line[i % LINES];

        sim_jw_open(w, '{');
        sim_jw_kint(w, "no", (int64_t)line->no);
        sim_jw_kstr(w, "method", line->method);
        sim_jw_kstr(w, "path", line->url);
        sim_jw_kint(w, "status", line->status);
        sim_jw_kstr(w, "mailbox", line->mailbox[0] != '\0' ? line->mailbox : NULL);
        sim_jw_ktime(w, "start", line->start_ms);
        sim_jw_kint(w, "ms", line->end_ms - line->start_ms);
        sim_jw_kint(w, "items", (int64_t)line->items);
        sim_jw_kint(w, "bytes", (int64_t)line->bytes);
        sim_jw_kbool(w, "batch", line->in_batch);
        sim_jw_kbool(w, "immutable_ids", line->immutable_ids);
        sim_jw_kstr(w, "client_request_id", line->client_request_id);
        sim_jw_close(w, '}');
    }
    pthread_mutex_unlock(&l->lock);
    sim_jw_close(w, ']');
}
