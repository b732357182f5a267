/* tsan_threads.c - C11 threads as POSIX threads, for thread sanitizer builds only.
 *
 * Debian's librdkafka calls thrd_*, mtx_*, cnd_* and call_once, which the thread sanitizer of gcc 12
 * does not intercept: a thread it did not see being made crashes it at once, and a lock it did not
 * see makes every access under it look like a race. The symbols below take the C library's place
 * (the program exports them: -rdynamic) and call the POSIX functions, which it does intercept.
 *
 * glibc defines both families over the same objects, so the casts are between equal layouts; the
 * sizes are checked below.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is a pthread_cond_t");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "thrd_t is a pthread_t");
_Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "once_flag is a pthread_once_t");

const char *__tsan_default_options(void);

/* Libraries count references with atomics that a sanitizer cannot see, so what they free, copy or
 * destroy would be reported as racing with its last use. Their locks still order our own accesses. */
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}

static pthread_mutex_t *mutex(mtx_t *m)
{
    return (pthread_mutex_t *)(void *)m;
}

static pthread_cond_t *cond(cnd_t *c)
{
    return (pthread_cond_t *)(void *)c;
}

static int result(int err)
{
    switch (err) {
    case 0: return thrd_success;
    case EBUSY: return thrd_busy;
    case ETIMEDOUT: return thrd_timedout;
    case ENOMEM: return thrd_nomem;
    default: return thrd_error;
    }
}

struct entry {
    thrd_start_t func;
    void *arg;
};

static void *run(void *p)
{
    struct entry e = *(struct entry *)p;

    free(p);
    return (void *)(intptr_t)e.func(e.arg);
}

int thrd_create(thrd_t *thr, thrd_start_t func, void *arg)
{
    struct entry *e = malloc(sizeof(*e));
    int err;

    if (e == NULL)
        return thrd_nomem;
    e->func = func;
    e->arg = arg;
    err = pthread_create(thr, NULL, run, e);
    if (err != 0)
        free(e);
    return err == EAGAIN ? thrd_nomem : result(err);
}

int thrd_join(thrd_t thr, int *res)
{
    void *value = NULL;
    int err = pthread_join(thr, &value);

    if (err == 0 && res != NULL)
        *res = (int)(intptr_t)value;
    return result(err);
}

int thrd_detach(thrd_t thr)
{
    return result(pthread_detach(thr));
}

_Noreturn void thrd_exit(int res)
{
    pthread_exit((void *)(intptr_t)res);
}

int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attr;
    int err = pthread_mutexattr_init(&attr);

    if (err != 0)
        return result(err);
    err = pthread_mutexattr_settype(&attr, (type & mtx_recursive) ? PTHREAD_MUTEX_RECURSIVE
                                                                  : PTHREAD_MUTEX_NORMAL);
    if (err == 0)
        err = pthread_mutex_init(mutex(m), &attr);
    (void)pthread_mutexattr_destroy(&attr); /* frees nothing on Linux, cannot fail */
    return result(err);
}

void mtx_destroy(mtx_t *m)
{
    (void)pthread_mutex_destroy(mutex(m)); /* C11 has no way to say it */
}

int mtx_lock(mtx_t *m)
{
    return result(pthread_mutex_lock(mutex(m)));
}

int mtx_trylock(mtx_t *m)
{
    return result(pthread_mutex_trylock(mutex(m)));
}

int mtx_timedlock(mtx_t *restrict m, const struct timespec *restrict until)
{
    return result(pthread_mutex_timedlock(mutex(m), until));
}

int mtx_unlock(mtx_t *m)
{
    return result(pthread_mutex_unlock(mutex(m)));
}

int cnd_init(cnd_t *c)
{
    return result(pthread_cond_init(cond(c), NULL));
}

void cnd_destroy(cnd_t *c)
{
    (void)pthread_cond_destroy(cond(c)); /* C11 has no way to say it */
}

int cnd_signal(cnd_t *c)
{
    return result(pthread_cond_signal(cond(c)));
}

int cnd_broadcast(cnd_t *c)
{
    return result(pthread_cond_broadcast(cond(c)));
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
    return result(pthread_cond_wait(cond(c), mutex(m)));
}

/* Both take an absolute time of the real-time clock. */
int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
    return result(pthread_cond_timedwait(cond(c), mutex(m), until));
}

void call_once(once_flag *flag, void (*func)(void))
{
    (void)pthread_once((pthread_once_t *)(void *)flag, func); /* as above */
}
