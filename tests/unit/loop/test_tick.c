/* Timers, flushes and scratch of a tick; mail between threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "loop/mailbox.h"

struct fix {
	uv_loop_t loop;
	struct hm_tick t;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(hm_tick_init(&f->t, &f->loop), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	hm_tick_close(&f->t);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&f->t);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	free(f);
	hm_stats_free_all();
	return 0;
}

struct item {
	struct hm_timer timer;
	int *order, *n, id;
};

static void on_item(struct hm_timer *t)
{
	struct item *i = hm_container_of(t, struct item, timer);

	i->order[(*i->n)++] = i->id;
}

static void timers_fire_in_order_and_not_when_stopped(void **state)
{
	struct fix *f = *state;
	int order[8] = {0}, n = 0;
	struct item v[5];
	static const uint64_t delay[5] = {30, 10, 20, 0, 15};

	for (int i = 0; i < 5; i++) {
		v[i] = (struct item){.order = order, .n = &n, .id = i};
		hm_timer_init(&v[i].timer, on_item);
		hm_timer_start(&f->t, &v[i].timer, delay[i]);
	}
	hm_timer_stop(&f->t, &v[4].timer);
	assert_false(hm_timer_armed(&v[4].timer));
	hm_timer_start(&f->t, &v[0].timer, 5); /* re-armed: now before 1 and 2 */
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(n, 4);
	assert_int_equal(order[0], 3);
	assert_int_equal(order[1], 0);
	assert_int_equal(order[2], 1);
	assert_int_equal(order[3], 2);
}

static void the_test_clock_moves_timers(void **state)
{
	struct fix *f = *state;
	int order[2] = {0}, n = 0;
	struct item v = {.order = order, .n = &n, .id = 7};
	uint64_t before;

	hm_timer_init(&v.timer, on_item);
	hm_timer_start(&f->t, &v.timer, 3600 * 1000);
	before = f->t.now_ns;
	hm_clock_advance_ms(3600 * 1000 + 1);
	hm_tick_refresh(&f->t);
	uv_run(&f->loop, UV_RUN_DEFAULT); /* ends only because the hour has passed */
	assert_int_equal(n, 1);
	assert_true(f->t.now_ns - before >= 3600000000000ull);
}

struct flusher {
	struct hm_flush flush;
	struct fix *f;
	int runs, again;
	struct hm_flush *cancel;
};

static void on_flush(struct hm_flush *x)
{
	struct flusher *fl = hm_container_of(x, struct flusher, flush);

	fl->runs++;
	if (fl->again-- > 0)
		hm_flush_later(&fl->f->t, x);
	if (fl->cancel)
		hm_flush_cancel(&fl->f->t, fl->cancel);
}

static void flushes_run_once_and_those_they_queue_before_blocking(void **state)
{
	struct fix *f = *state;
	struct flusher a = {.f = f, .again = 2}, b = {.f = f}, c = {.f = f};

	uv_ref((uv_handle_t *)&f->t.prepare); /* a loop with nothing to wait for does not turn */
	hm_flush_init(&a.flush, on_flush);
	hm_flush_init(&b.flush, on_flush);
	hm_flush_init(&c.flush, on_flush);
	b.cancel = &c.flush;
	hm_flush_later(&f->t, &a.flush);
	hm_flush_later(&f->t, &a.flush);
	hm_flush_later(&f->t, &b.flush);
	hm_flush_later(&f->t, &c.flush);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(a.runs, 3);
	assert_int_equal(b.runs, 1);
	assert_int_equal(c.runs, 0);
	a.again = 1000000; /* one that never ends must not stop the loop */
	hm_flush_later(&f->t, &a.flush);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_true(a.runs > 3 && a.runs < 1000);
	a.again = 0;
	uv_run(&f->loop, UV_RUN_NOWAIT);
	uv_unref((uv_handle_t *)&f->t.prepare);
}

/* -- mailbox ------------------------------------------------------------------------------- */

#define SENDERS 4
#define MAILS	20000

struct letter {
	struct hm_mail mail;
	int sender, number;
};
struct office {
	struct hm_mailbox mb;
	int next[SENDERS], total;
	bool out_of_order;
};
struct sender {
	pthread_t thread;
	struct hm_mailbox *mb;
	int id;
};

static void deliver(struct hm_mail *m, void *owner)
{
	struct letter *l = hm_container_of(m, struct letter, mail);
	struct office *o = owner;

	if (l->number != o->next[l->sender]++)
		o->out_of_order = true;
	free(l);
	if (++o->total == SENDERS * MAILS)
		hm_mailbox_close(&o->mb);
}

static void *send_all(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < MAILS; i++) {
		struct letter *l = malloc(sizeof(*l));

		if (l == NULL)
			abort();
		*l = (struct letter){.mail = {.deliver = deliver}, .sender = s->id, .number = i};
		hm_mailbox_post(s->mb, &l->mail);
	}
	return NULL;
}

static void mail_of_many_threads_arrives_in_order(void **state)
{
	struct fix *f = *state;
	struct sender v[SENDERS];
	struct office o = {.total = 0};

	assert_int_equal(hm_mailbox_init(&o.mb, &f->t, &o), 0);
	for (int i = 0; i < SENDERS; i++) {
		v[i] = (struct sender){.mb = &o.mb, .id = i};
		assert_int_equal(pthread_create(&v[i].thread, NULL, send_all, &v[i]), 0);
	}
	uv_run(&f->loop, UV_RUN_DEFAULT);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(v[i].thread, NULL);
	assert_int_equal(o.total, SENDERS * MAILS);
	assert_false(o.out_of_order);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_fire_in_order_and_not_when_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(the_test_clock_moves_timers, setup, teardown),
		cmocka_unit_test_setup_teardown(flushes_run_once_and_those_they_queue_before_blocking, setup,
						teardown),
		cmocka_unit_test_setup_teardown(mail_of_many_threads_arrives_in_order, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
