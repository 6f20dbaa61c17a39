/*
 * The lists: fields and values there and back, what changes what, removal marks, ends, walks. A redis-server of the
 * test's own.
 */
#include "supp.h"

#include "base/fault.h"

#define DAY UINT64_C(86400000)
static const uint64_t now = UINT64_C(1700000000000);

static struct hm_suppress_entry entry(const char *address)
{
	return (struct hm_suppress_entry){.kind = HM_SUPPRESS_ADDRESS,
					  .subject = hm_str_c(address),
					  .medium = HM_MED_EMAIL,
					  .reason = HM_STR_INIT("complaint"),
					  .by = HM_STR_INIT("me"),
					  .at_ms = now};
}

static size_t add(struct hm_suppress_entry x)
{
	hm_suppress_add(w.client.r, PREFIX, now, &x, 1, on_count, NULL);
	return wait_count();
}

static size_t removed(struct hm_suppress_entry x, uint64_t at_ms)
{
	hm_suppress_remove(w.client.r, PREFIX, at_ms, &x, 1, on_count, NULL);
	return wait_count();
}

/* -- without Redis ------------------------------------------------------------------------------ */

static void assert_field(const struct hm_suppress_entry *x, const char *expected)
{
	struct hm_buf b;

	hm_buf_init(&b, 4096);
	hm_suppress_field(x, &b);
	assert_string_equal(hm_buf_cstr(&b), expected);
	hm_buf_fini(&b);
}

static void test_fields(void **state)
{
	struct hm_suppress_entry x = entry("A@Example.COM");

	assert_field(&x, "a\x1f"
			 "email\x1f*\x1f"
			 "a@example.com");
	x.category = HM_STR("news");
	x.medium = -1;
	assert_field(&x, "a\x1f*\x1fnews\x1f"
			 "a@example.com");
	x.kind = HM_SUPPRESS_USER;
	assert_field(&x, "u\x1f*\x1fnews\x1f"
			 "A@Example.COM");
	x.kind = HM_CONSENT_USER;
	x.subject = HM_STR("U7");
	assert_field(&x, "C\x1f*\x1fnews\x1fU7");
	x.kind = HM_CONSENT_ADDRESS;
	x.medium = HM_MED_SMS;
	assert_field(&x, "c\x1fsms\x1fnews\x1fU7");
}

static void test_slots_are_for_ever(void **state)
{
	/* A stored key depends on these: do not change them. */
	assert_int_equal(hm_person_slot(HM_STR("a@example.com")), hm_person_slot(HM_STR("A@EXAMPLE.com")));
	assert_int_equal(hm_person_slot(HM_STR("u1")), hm_hash64("u1", 2, 0) % 64);
	assert_int_equal(hm_person_slot(HM_STR("U1")), hm_hash64("U1", 2, 0) % 64);
	for (uint32_t i = 0; i < 1000; i++) {
		char text[16];

		assert_true(hm_person_slot(hm_str_n(text, (size_t)snprintf(text, 16, "%u", i))) <
			    HM_SUPPRESS_SLOTS);
	}
}

static void test_there_and_back(void **state)
{
	struct hm_suppress_entry x = entry("x\x1fy\"z\\"), y;
	struct hm_arena a;
	struct hm_buf f, v;
	struct hm_err e;

	x.category = HM_STR("a category");
	x.proof = HM_STR("line \"quoted\",\"at\":7 end");
	x.until_ms = now + 5;
	x.since_ms = now - 5;
	hm_arena_init(&a, NULL, 0);
	hm_buf_init(&f, 4096);
	hm_buf_init(&v, 4096);
	hm_suppress_field(&x, &f);
	hm_suppress_value(&x, &v);
	assert_int_equal(hm_suppress_parse(hm_buf_str(&f), hm_buf_str(&v), &a, &y, &e), 0);
	assert_true(hm_str_eq(x.subject, y.subject) && hm_str_eq(x.category, y.category) &&
		    hm_str_eq(x.reason, y.reason) && hm_str_eq(x.by, y.by) && hm_str_eq(x.proof, y.proof));
	assert_int_equal(y.medium, HM_MED_EMAIL);
	assert_true(y.at_ms == x.at_ms && y.until_ms == x.until_ms && y.since_ms == x.since_ms);
	assert_int_equal(hm_suppress_parse(HM_STR("a\x1f"
						  "fax\x1f*\x1fx"),
					   HM_STR("{}"), &a, &y, &e),
			 HM_EPARSE);
	assert_int_equal(hm_suppress_parse(HM_STR("a\x1f*\x1f"), HM_STR("{}"), &a, &y, &e), HM_EPARSE);
	assert_int_equal(hm_suppress_parse(HM_STR("z\x1f*\x1f*\x1fx"), HM_STR("{}"), &a, &y, &e), HM_EPARSE);
	assert_int_equal(hm_suppress_parse(HM_STR("a\x1f*\x1f*\x1fx"), HM_STR("[1]"), &a, &y, &e), HM_EPARSE);
	assert_true(hm_suppress_parse(HM_STR("a\x1f*\x1f*\x1fx"), HM_STR("{"), &a, &y, &e) < 0);
	hm_buf_fini(&f);
	hm_buf_fini(&v);
	hm_arena_fini(&a);
}

static void refused(struct hm_suppress_entry x, const char *field, const char *text)
{
	struct hm_err e = {0};

	assert_int_equal(hm_suppress_check(&x, &e), HM_EINVAL);
	assert_string_equal(e.field, field);
	if (!strstr(e.text, text))
		fail_msg("%s", e.text);
}

static void test_checks_name_the_field(void **state)
{
	static char long_text[3000];
	struct hm_suppress_entry x = entry("a@b.c"), ok = x;
	struct hm_err e;

	assert_int_equal(hm_suppress_check(&ok, &e), 0);
	memset(long_text, 'x', sizeof(long_text));
	x.subject = HM_STR("");
	refused(x, "address", "empty");
	x.kind = HM_CONSENT_USER;
	refused(x, "user", "empty");
	x = ok;
	x.subject = hm_str_n(long_text, 2049);
	refused(x, "address", "2048");
	x = ok;
	x.subject = HM_STR("a\nb");
	refused(x, "address", "control");
	x = ok;
	x.category = HM_STR("a\x1f"
			    "b");
	refused(x, "category", "control");
	x = ok;
	x.proof = HM_STR("\xff");
	refused(x, "proof", "UTF-8");
	x = ok;
	x.reason = HM_STR("because");
	refused(x, "reason", "unsubscribe");
	x.kind = HM_CONSENT_ADDRESS;
	refused(x, "reason", "proof");
	x = ok;
	x.until_ms = now;
	refused(x, "until", "after");
}

static void test_reasons(void **state)
{
	assert_int_equal(hm_suppress_reason_find(HM_STR("hard_bounce")), HM_SUPPRESS_HARD_BOUNCE);
	assert_int_equal(hm_suppress_reason_find(HM_STR("bounce")), -1);
	assert_string_equal(hm_suppress_reason_name(HM_SUPPRESS_MANUAL), "manual");
	assert_non_null(strstr(hm_suppress_reason_sentence(HM_SUPPRESS_COMPLAINT), "spam"));
}

/* -- changes --------------------------------------------------------------------------------------- */

static void test_adding_twice_changes_once(void **state)
{
	struct hm_suppress_entry x = entry("twice@x.y");

	assert_int_equal(add(x), 1);
	x.at_ms++;
	x.by = HM_STR("somebody else");
	x.subject = HM_STR("TWICE@x.y");
	assert_int_equal(add(x), 0);
	assert_true(hm_str_is(entry_of("twice@x.y", now)->by, "me"));
	x.proof = HM_STR("mail of 3 May");
	assert_int_equal(add(x), 1);
	assert_true(hm_str_is(entry_of("Twice@X.Y", now)->by, "somebody else"));
	/* machines leave what is there */
	x.reason = HM_STR("hard_bounce");
	hm_suppress_add_new(w.client.r, PREFIX, now, &x, 1, on_count, NULL);
	assert_int_equal(wait_count(), 0);
	assert_true(hm_str_is(entry_of("twice@x.y", now)->reason, "complaint"));
	assert_int_equal(removed(x, now), 1);
	assert_int_equal(removed(x, now), 0);
	assert_null(entry_of("twice@x.y", now));
	assert_int_equal(total(now), 0);
}

static void test_ends(void **state)
{
	struct hm_suppress_entry x = entry("pause@x.y");

	x.until_ms = now + DAY;
	assert_int_equal(add(x), 1);
	assert_non_null(entry_of("pause@x.y", now + DAY - 1));
	assert_null(entry_of("pause@x.y", now + DAY));
	/* machines may take the place of one that is over, even before it is cleared */
	x.until_ms = 0;
	x.reason = HM_STR("invalid_token");
	hm_suppress_add_new(w.client.r, PREFIX, now + DAY, &x, 1, on_count, NULL);
	assert_int_equal(wait_count(), 1);
	assert_true(hm_str_is(entry_of("pause@x.y", now + 2 * DAY)->reason, "invalid_token"));
	/* an end that is taken back holds nothing */
	x.until_ms = now + 3 * DAY;
	assert_int_equal(add(x), 1);
	x.until_ms = 0;
	assert_int_equal(add(x), 1);
	assert_int_equal(total(now + 10 * DAY), 1);
	assert_int_equal(removed(x, now), 1);
	/* counting clears */
	x.until_ms = now + 1;
	assert_int_equal(add(x), 1);
	assert_int_equal(total(now), 1);
	assert_int_equal(total(now + 1), 0);
}

static void test_older_proofs_after_a_removal(void **state)
{
	struct hm_suppress_entry x = entry("token-1");

	x.medium = HM_MED_PUSH;
	x.reason = HM_STR("invalid_token");
	/* registered again although it was never on the list: the mark is left all the same */
	assert_int_equal(removed(x, now), 0);
	x.since_ms = now - 1;
	assert_int_equal(add(x), 0);
	x.since_ms = now + 1;
	assert_int_equal(add(x), 1);
	assert_int_equal(removed(x, now + 10), 1);
	assert_int_equal(add(x), 0);
	x.since_ms = 0; /* a word without time is as good as its moment */
	assert_int_equal(add(x), 1);
	assert_int_equal(removed(x, now + 10), 1);
	/* the mark is kept a week */
	x.since_ms = now + 1;
	hm_suppress_add(w.client.r, PREFIX, now + 7 * DAY + 9, &x, 1, on_count, NULL);
	assert_int_equal(wait_count(), 0);
	hm_suppress_add(w.client.r, PREFIX, now + 7 * DAY + 10, &x, 1, on_count, NULL);
	assert_int_equal(wait_count(), 1);
	assert_int_equal(removed(x, now + 8 * DAY), 1);
}

static void test_a_doubtful_answer_needs_a_second_day(void **state)
{
	struct hm_suppress_entry x = entry("token-2");
	uint64_t t = now + 20 * DAY;

	x.medium = HM_MED_PUSH;
	x.reason = HM_STR("invalid_token");
#define SAY(at) (hm_suppress_suspect(w.client.r, PREFIX, (at), &x, 1, on_count, NULL), wait_count())
	assert_int_equal(SAY(t), 0);
	assert_int_equal(SAY(t + DAY - 1), 0);
	assert_null(entry_of("token-2", t));
	assert_int_equal(SAY(t + DAY), 1);
	assert_non_null(entry_of("token-2", t));
	assert_int_equal(removed(x, t + 2 * DAY), 1);
	/* forgotten after a month */
	assert_int_equal(SAY(t + 3 * DAY), 0);
	assert_int_equal(SAY(t + 40 * DAY), 0);
	/* and after a removal, which says that it was registered again */
	assert_int_equal(removed(x, t + 40 * DAY + 1), 0);
	assert_int_equal(SAY(t + 42 * DAY), 0);
	assert_int_equal(SAY(t + 43 * DAY), 1);
	assert_int_equal(removed(x, t + 44 * DAY), 1);
#undef SAY
}

static void test_many_at_once(void **state)
{
	enum { N = 50000 };
	static struct hm_suppress_entry v[N];
	static char text[N][24];
	struct hm_suppress_filter f = FILTER_ALL;
	static bool seen[N];
	uint64_t id;

	for (size_t i = 0; i < N; i++) {
		snprintf(text[i], sizeof(text[i]), "+86%zu", i);
		v[i] = entry(text[i]);
		v[i].medium = HM_MED_SMS;
	}
	hm_suppress_add(w.client.r, PREFIX, now, v, N, on_count, NULL);
	assert_int_equal(wait_count(), N);
	hm_suppress_add(w.client.r, PREFIX, now, v, N, on_count, NULL);
	assert_int_equal(wait_count(), 0);
	assert_int_equal(total(now), N);
	/* every one is seen, whatever the page */
	w.next[0] = '\0';
	do {
		w.n = 0;
		hm_arena_reset(&w.arena);
		assert_true(page(&f, w.next, 777, now) <= 777);
		for (size_t i = 0; i < w.n; i++) {
			struct hm_str s = w.v[i].subject;

			assert_true(hm_str_u64(hm_str_n(s.p + 3, s.len - 3), &id) && id < N);
			assert_false(seen[id]);
			seen[id] = true;
		}
	} while (w.next[0]);
	for (size_t i = 0; i < N; i++)
		assert_true(seen[i]);
	hm_suppress_remove(w.client.r, PREFIX, now, v, N, on_count, NULL);
	assert_int_equal(wait_count(), N);
	assert_int_equal(total(now), 0);
}

static void test_the_last_of_two_wins(void **state)
{
	struct hm_suppress_entry v[] = {entry("both"), entry("both")};

	v[1].reason = HM_STR("manual");
	hm_suppress_add(w.client.r, PREFIX, now, v, 2, on_count, NULL);
	assert_int_equal(wait_count(), 2);
	assert_true(hm_str_is(entry_of("both", now)->reason, "manual"));
	assert_int_equal(removed(v[0], now), 1);
}

/* -- walks ------------------------------------------------------------------------------------------- */

static void test_filters(void **state)
{
	struct hm_suppress_entry v[6], *x = v;
	struct hm_suppress_filter f;

	for (size_t i = 0; i < 6; i++)
		v[i] = entry("f*[a]?@x.y");
	x[1].medium = HM_MED_SMS;
	x[2].category = HM_STR("news");
	x[2].reason = HM_STR("unsubscribe");
	x[3].kind = HM_SUPPRESS_USER;
	x[3].medium = -1;
	x[4].kind = HM_CONSENT_ADDRESS;
	x[4].reason = HM_STR("");
	x[5].subject = HM_STR("fxxa!@x.y"); /* what the pattern would match if it were not escaped */
	hm_suppress_add(w.client.r, PREFIX, now, v, 6, on_count, NULL);
	assert_int_equal(wait_count(), 6);
	f = FILTER_ALL;
	assert_int_equal(walk(&f, 2, now), 5);
	f.consents = true;
	assert_int_equal(walk(&f, 1, now), 1);
	f = filter_address("F*[a]?@X.y");
	assert_int_equal(walk(&f, 1, now), 3);
	f.medium = HM_MED_EMAIL;
	assert_int_equal(walk(&f, 100, now), 2);
	f.category = HM_STR("");
	assert_int_equal(walk(&f, 100, now), 1);
	f.category = HM_STR("news");
	assert_int_equal(walk(&f, 100, now), 1);
	f.category = HM_STR_NULL;
	f.medium = -1;
	assert_int_equal(walk(&f, 100, now), 0);
	f = FILTER_ALL;
	f.users = true;
	assert_int_equal(walk(&f, 100, now), 1);
	assert_int_equal(w.v[0].kind, HM_SUPPRESS_USER);
	f.addresses = true;
	f.reason = HM_SUPPRESS_UNSUBSCRIBE;
	assert_int_equal(walk(&f, 100, now), 1);
	assert_true(hm_str_is(w.v[0].category, "news"));
	hm_suppress_remove(w.client.r, PREFIX, now, v, 6, on_count, NULL);
	assert_int_equal(wait_count(), 6);
}

static void test_cursors(void **state)
{
	static const char *const bad[] = {"x",	  "0",	   "0-",     "0-0",	"64-0-0",
					  "0-0-", "0-0-g", "-1-0-0", "0-0-0-0", "0-00000000000000000-0",
					  NULL};

	assert_true(hm_suppress_cursor_ok(HM_STR("")));
	assert_true(hm_suppress_cursor_ok(HM_STR("63-ffffffffffffffff-0")));
	for (size_t i = 0; bad[i]; i++)
		assert_false(hm_suppress_cursor_ok(hm_str_c(bad[i])));
}

/* What somebody else wrote there does not hide the rest. */
static void test_strange_fields(void **state)
{
	struct answer a = {0};
	struct hm_suppress_filter f = FILTER_ALL;
	struct hm_suppress_entry x = entry("next to it");
	char key[HM_SUPPRESS_KEY_MAX];
	struct hm_str argv[] = {
		HM_STR_INIT("HSET"),
		{key, hm_person_key(PREFIX, hm_person_slot(x.subject), "supp", key, sizeof(key))},
		HM_STR_INIT("a\x1f*\x1f*\x1fjunk"),
		HM_STR_INIT("no json")};

	hm_redis_send(w.client.r, argv[1], argv, 4, on_answer, &a);
	assert_int_equal(add(x), 1);
	assert_int_equal(a.calls, 1);
	assert_int_equal(walk(&f, 10, now), 1);
}

static void test_redis_away(void **state)
{
	struct hm_suppress_entry x = entry("away");

	server_kill(w.server);
	RUN_UNTIL(&w.env, !hm_redis_up(w.client.r), 5000);
	hm_suppress_add(w.client.r, PREFIX, now, &x, 1, on_count, NULL);
	assert_false(w.done);
	RUN_UNTIL(&w.env, w.done, 10000);
	w.done = false;
	assert_true(w.err.code < 0);
}

/* Any allocation of a change fails: whoever asked hears it, later and once, and repeating it works. */
static void test_no_memory_for_a_change(void **state)
{
	size_t before = total(now);
	unsigned heard = 0;

	for (unsigned n = 1; n < 40; n++) {
		struct hm_suppress_entry v[3] = {entry("one@x.example"), entry("two@x.example"),
						 entry("three@x.example")};
		bool adding = n % 2;
		uint64_t hits;
		char spec[40];
		struct hm_err e;

		snprintf(spec, sizeof(spec), "alloc:fail@%u", (n + 1) / 2);
		assert_int_equal(hm_fault_init(spec, &e), 0);
		if (adding)
			hm_suppress_add(w.client.r, PREFIX, now, v, 3, on_count, NULL);
		else
			hm_suppress_remove(w.client.r, PREFIX, now, v, 3, on_count, NULL);
		assert_false(w.done);
		hits = hm_fault_hits(HM_FAULT_alloc);
		assert_int_equal(hm_fault_init(NULL, &e), 0);
		RUN_UNTIL(&w.env, w.done, 10000);
		w.done = false;
		if (w.err.code) {
			heard++;
			assert_true(hits >= (n + 1) / 2);
			assert_int_equal(w.err.code, HM_ENOMEM);
		}
		if (adding)
			hm_suppress_add(w.client.r, PREFIX, now, v, 3, on_count, NULL);
		else
			hm_suppress_remove(w.client.r, PREFIX, now, v, 3, on_count, NULL);
		wait_count();
		assert_int_equal(total(now), before + (adding ? 3 : 0));
	}
	assert_true(heard >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_slots_are_for_ever),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_checks_name_the_field),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_adding_twice_changes_once),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_older_proofs_after_a_removal),
		cmocka_unit_test(test_a_doubtful_answer_needs_a_second_day),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_the_last_of_two_wins),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_cursors),
		cmocka_unit_test(test_strange_fields),
		cmocka_unit_test(test_no_memory_for_a_change),
		cmocka_unit_test(test_redis_away),
	};

	return cmocka_run_group_tests(tests, supp_setup, supp_teardown);
}
