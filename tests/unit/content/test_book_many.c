/* A book of thousands: names come and go one by one, and a snapshot that was taken stays what it was. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/json.h"
#include "content/content.h"

#include "content_help.h"

#define NAMES 3000
#define HELD  40

static struct hm_template *one; /* under every name */

static struct hm_str name_of(unsigned i, char buf[32])
{
	return hm_str_n(buf, (size_t)snprintf(buf, 32, "t%u", i * 7919 % NAMES));
}

static void put(struct hm_book *b, unsigned i)
{
	struct hm_template *t = hm_template_ref(one);
	char buf[32];

	assert_int_equal(hm_book_put(b, name_of(i, buf), &t, 1, 3), 0);
}

static void drop(struct hm_book *b, unsigned i)
{
	char buf[32];

	hm_book_drop(b, name_of(i, buf));
}

static bool has(const struct hm_template_set *s, unsigned i)
{
	struct hm_err e = {0};
	char buf[32];

	return hm_template_find(s, name_of(i, buf), &e) != NULL;
}

static void snapshots_stay_what_they_were(void **state)
{
	struct hm_book *b = hm_book_new(), *fork;
	struct hm_template_set *held[HELD], *s;
	unsigned n_held = 0, at[HELD];

	assert_non_null(b);
	one = good("body: x\n");
	for (unsigned i = 0; i < NAMES; i++) {
		put(b, i);
		put(b, i / 2); /* again */
		if (i % (NAMES / HELD) == 0) {
			at[n_held] = i + 1;
			held[n_held++] = hm_book_take(b);
		}
	}
	for (unsigned i = 0; i < NAMES; i += 3)
		drop(b, i);
	drop(b, 0); /* not there any more */
	s = hm_book_take(b);
	assert_int_equal(hm_template_set_count(s), NAMES - (NAMES + 2) / 3);
	for (unsigned i = 0; i < NAMES; i++)
		assert_int_equal(has(s, i), i % 3 != 0);
	/* what is tried in a fork is not seen in the book, and the other way round */
	fork = hm_book_fork(s);
	hm_template_set_unref(s);
	put(fork, 0);
	put(fork, 3);
	drop(b, 1);
	drop(b, 2);
	s = hm_book_take(fork);
	assert_true(has(s, 0) && has(s, 3) && has(s, 1) && has(s, 2));
	hm_template_set_unref(s);
	s = hm_book_take(b);
	assert_true(!has(s, 0) && !has(s, 3) && !has(s, 1) && !has(s, 2));
	hm_template_set_unref(s);
	for (unsigned k = 0; k < n_held; k++) {
		assert_int_equal(hm_template_set_count(held[k]), at[k]);
		assert_true(has(held[k], 0) && has(held[k], at[k] - 1));
		assert_true(at[k] == NAMES || !has(held[k], at[k]));
		hm_template_set_unref(held[k]);
	}
	hm_book_free(fork);
	hm_book_free(b);
	hm_template_unref(one);
}

static atomic_bool ended;

/* Looks as a shard does; between two looks nothing may move. */
static void *reader(void *arg)
{
	struct hm_book_eye eye = {.book = arg};
	bool sound = true;

	while (!atomic_load(&ended)) {
		struct hm_template_set *s = hm_book_look(&eye);
		size_t n = hm_template_set_count(s);

		for (size_t i = 0; i < n; i++)
			sound = sound && hm_template_set_at(s, i) == one;
		sound = sound && hm_template_set_count(s) == n;
	}
	hm_template_set_unref(eye.set);
	return sound ? arg : NULL;
}

static void readers_and_a_writer(void **state)
{
	struct hm_book *b = hm_book_new();
	pthread_t v[3];
	void *r;

	one = good("body: x\n");
	atomic_store(&ended, false);
	for (size_t i = 0; i < hm_countof(v); i++)
		assert_int_equal(pthread_create(&v[i], NULL, reader, b), 0);
	for (unsigned i = 0; i < NAMES; i++) {
		put(b, i);
		if (i % 4 == 3)
			drop(b, i - 2);
	}
	atomic_store(&ended, true);
	for (size_t i = 0; i < hm_countof(v); i++) {
		assert_int_equal(pthread_join(v[i], &r), 0);
		assert_ptr_equal(r, b);
	}
	hm_book_free(b);
	hm_template_unref(one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshots_stay_what_they_were),
		cmocka_unit_test(readers_and_a_writer),
	};

	return cmocka_run_group_tests(tests, help_setup, help_teardown);
}
