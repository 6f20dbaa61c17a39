/*
 * Items of users in a real Redis: what each script does, answers and leaves behind. Time is what the questions say.
 */
#include "../redis/env.h"

#include "gates/suppress.h"
#include "inbox/live.h"
#include "inbox/store.h"

#define T0   UINT64_C(1700000000000)
#define DAY  UINT64_C(86400000)
#define KEEP (90 * DAY)

static struct env env;
static struct client hub;
static struct server *server;
static uint64_t now;
static const struct hm_redis_opts hub_opts = {
	.connect_timeout_ms = 2000, .command_timeout_ms = 3000, .max_pending = 100000};

static int setup(void **state)
{
	env_init(&env);
	server = server_start(&env, NULL);
	client_open(&hub, &env, hub_opts, "unix://%s", server->sock);
	RUN_UNTIL(&env, hub.up, 10000);
	return 0;
}

static int teardown(void **state)
{
	client_close(&hub);
	env_fini(&env);
	return 0;
}

static int fresh(void **state)
{
	struct answer an;

	ASK(&hub, &an, "FLUSHALL");
	now = T0;
	return 0;
}

static struct hm_inbox_ref who(const char *user)
{
	return (struct hm_inbox_ref){hub.r, HM_STR("hm"), hm_str_c(user), now, KEEP};
}

static const char *id_of(unsigned n) /* of message n */
{
	static char text[16][HM_ULID_TEXT + 1];
	static unsigned turn;
	struct hm_ulid id = {{0}};

	id.b[14] = (uint8_t)(n >> 8);
	id.b[15] = (uint8_t)n;
	hm_ulid_text(&id, text[++turn % 16]);
	return text[turn % 16];
}

static bool done;
static struct hm_err failed;
static struct hm_inbox_ask question;

/* -- storing -- */

static enum hm_inbox_added how;

static void on_added(void *arg, enum hm_inbox_added what, const struct hm_err *err)
{
	done = true;
	how = what;
	if (err)
		fail_msg("%s", err->text);
}

static enum hm_inbox_added add_x(const char *user, unsigned n, const char *category, const char *collapse,
				 uint64_t expires, uint32_t most)
{
	struct hm_inbox_ref w = who(user);
	char json[64];
	struct hm_inbox_add x = {.id = hm_str_c(id_of(n)),
				 .category = hm_str_c(category),
				 .collapse = hm_str_c(collapse),
				 .expires_ms = expires,
				 .max_items = most};

	snprintf(json, sizeof(json), "{\"title\":\"m%u\"}", n);
	x.json = hm_str_c(json);
	done = false;
	hm_inbox_add(&w, &x, &question, on_added, NULL);
	assert_false(done); /* never from inside */
	RUN_UNTIL(&env, done, 5000);
	now++;
	return how;
}

static enum hm_inbox_added add(const char *user, unsigned n)
{
	return add_x(user, n, "", "", 0, 200);
}

/* -- reading -- */

static struct hm_inbox_counts counts;
static char listed[4096], unreported[512];
static uint64_t next;
static size_t n_items;
static bool refused;
static uint64_t read_ms, expires_ms;

static void on_page(void *arg, const struct hm_inbox_page *p, const struct hm_err *err)
{
	size_t at = 0;

	done = true;
	hm_err_clear(&failed);
	if (err) {
		failed = *err;
		return;
	}
	counts = p->counts;
	next = p->next;
	n_items = p->n;
	refused = p->refused;
	listed[0] = unreported[0] = '\0';
	for (size_t i = 0; i < p->n; i++) {
		struct hm_inbox_item copy = p->v[i];
		struct hm_str title = hm_str_n(copy.json.p + 10, copy.json.len - 12);

		at += (size_t)snprintf(listed + at, sizeof(listed) - at, "%s%.*s%c", i ? " " : "",
				       HM_STRF(title), "ura"[copy.state]);
		read_ms = copy.read_ms;
		expires_ms = copy.expires_ms;
	}
	at = 0;
	for (size_t i = 0; i < p->n_unreported; i++)
		at += (size_t)snprintf(unreported + at, sizeof(unreported) - at, "%s%.*s", i ? " " : "",
				       HM_STRF(p->unreported[i]));
}

static const char *list_x(const char *user, uint8_t states, const char *category, uint64_t before,
			  uint32_t limit)
{
	struct hm_inbox_ref w = who(user);
	struct hm_inbox_filter f = {
		.states = states, .category = hm_str_c(category), .before = before, .limit = limit};

	done = false;
	hm_inbox_list(&w, &f, &question, on_page, NULL);
	RUN_UNTIL(&env, done, 5000);
	return listed;
}

static const char *list(const char *user)
{
	return list_x(user, 7, NULL, 0, 100);
}

static const char *since(const char *user, uint64_t after, const char *listener)
{
	struct hm_inbox_ref w = who(user);
	struct hm_inbox_since q = {after, 3, hm_str_c(listener), 45000, 2};

	done = false;
	hm_inbox_since(&w, &q, &question, on_page, NULL);
	RUN_UNTIL(&env, done, 5000);
	return listed;
}

/* -- changing -- */

static size_t changed, missing;
static bool no_until;

static void on_marked(void *arg, const struct hm_inbox_marked *m, const struct hm_err *err)
{
	size_t at = 0;

	done = true;
	if (err)
		fail_msg("%s", err->text);
	counts = m->counts;
	changed = m->changed;
	missing = m->missing;
	no_until = m->no_until;
	unreported[0] = '\0';
	for (size_t i = 0; i < m->n_unreported; i++)
		at += (size_t)snprintf(unreported + at, sizeof(unreported) - at, "%s%.*s", i ? " " : "",
				       HM_STRF(m->unreported[i]));
}

static size_t mark(const char *user, const struct hm_inbox_mark *m)
{
	struct hm_inbox_ref w = who(user);

	done = false;
	hm_inbox_mark(&w, m, &question, on_marked, NULL);
	RUN_UNTIL(&env, done, 5000);
	now++;
	return changed;
}

static size_t mark_one(const char *user, enum hm_inbox_action a, unsigned n)
{
	struct hm_str id = hm_str_c(id_of(n));

	return mark(user, &(struct hm_inbox_mark){.action = a, .ids = &id, .n = 1});
}

static size_t mark_all(const char *user, enum hm_inbox_action a, uint8_t states, const char *category,
		       unsigned until)
{
	return mark(user, &(struct hm_inbox_mark){.action = a,
						  .states = states,
						  .category = hm_str_c(category),
						  .until = until ? hm_str_c(id_of(until)) : HM_STR("")});
}

#define COUNTED(u, r, a) assert_true(counts.n[0] == (u) && counts.n[1] == (r) && counts.n[2] == (a))

/* -- the tests -- */

static void test_once(void **state)
{
	assert_int_equal(add("u", 1), HM_INBOX_STORED);
	assert_int_equal(add("u", 1), HM_INBOX_AGAIN);
	assert_string_equal(list("u"), "m1u");
	assert_int_equal(mark_one("u", HM_INBOX_DO_DELETE, 1), 1);
	assert_int_equal(add("u", 1), HM_INBOX_AGAIN); /* not again because it was deleted */
	assert_string_equal(list("u"), "");
	assert_int_equal(add("v", 1), HM_INBOX_STORED); /* another user's is another */
	assert_string_equal(list("v"), "m1u");
}

static void test_states(void **state)
{
	for (unsigned i = 1; i <= 4; i++)
		add("u", i);
	assert_string_equal(list("u"), "m4u m3u m2u m1u");
	COUNTED(4, 0, 0);
	assert_true(counts.arrivals == 4 && counts.version == 4);
	assert_int_equal(mark_one("u", HM_INBOX_DO_READ, 2), 1);
	assert_string_equal(unreported, id_of(2));
	assert_int_equal(mark_one("u", HM_INBOX_DO_READ, 2), 0);
	assert_string_equal(unreported, id_of(2)); /* until it is said to be */
	hm_inbox_reported(&(struct hm_inbox_ref){hub.r, HM_STR("hm"), HM_STR("u"), now, KEEP},
			  &(struct hm_str){id_of(2), HM_ULID_TEXT}, 1);
	assert_int_equal(mark_one("u", HM_INBOX_DO_UNREAD, 2), 1);
	assert_int_equal(mark_one("u", HM_INBOX_DO_READ, 2), 1);
	assert_string_equal(unreported, ""); /* its first reading only */
	assert_int_equal(mark_one("u", HM_INBOX_DO_UNREAD, 1), 0);
	assert_int_equal(mark_one("u", HM_INBOX_DO_ARCHIVE, 1), 1);
	assert_int_equal(mark_one("u", HM_INBOX_DO_ARCHIVE, 2), 1);
	assert_string_equal(list("u"), "m4u m3u m2a m1a");
	COUNTED(2, 0, 2);
	assert_int_equal(mark_all("u", HM_INBOX_DO_UNARCHIVE, 4, NULL, 0), 2);
	assert_string_equal(list("u"), "m4u m3u m2r m1u");
	assert_int_equal(mark_one("u", HM_INBOX_DO_DELETE, 9), 0);
	assert_int_equal(missing, 1);
	/* all, up to an item */
	assert_int_equal(mark_all("u", HM_INBOX_DO_READ, 1, NULL, 3), 2);
	assert_string_equal(list("u"), "m4u m3r m2r m1r");
	assert_false(no_until);
	mark_all("u", HM_INBOX_DO_READ, 1, NULL, 9);
	assert_true(no_until);
	assert_string_equal(list("u"), "m4u m3r m2r m1r");
	assert_int_equal(mark_all("u", HM_INBOX_DO_DELETE, 7, NULL, 0), 4);
	COUNTED(0, 0, 0);
}

static void test_pages(void **state)
{
	for (unsigned i = 1; i <= 9; i++)
		add_x("u", i, i % 3 ? "a" : "b", "", 0, 200);
	mark_one("u", HM_INBOX_DO_READ, 8);
	mark_one("u", HM_INBOX_DO_ARCHIVE, 7);
	assert_string_equal(list_x("u", 3, NULL, 0, 4), "m9u m8r m6u m5u");
	assert_int_equal(next, 5);
	assert_string_equal(list_x("u", 3, NULL, next, 4), "m4u m3u m2u m1u");
	assert_int_equal(next, 0);
	assert_string_equal(list_x("u", 7, "b", 0, 2), "m9u m6u");
	assert_string_equal(list_x("u", 7, "b", next, 2), "m3u");
	assert_int_equal(next, 0);
	assert_string_equal(list_x("u", 4, NULL, 0, 9), "m7a");
	assert_string_equal(list_x("u", 7, "", 0, 9), "");
	assert_string_equal(list_x("u", 7, NULL, 0, 0), ""); /* counts only */
	COUNTED(7, 1, 1);
	assert_int_equal(mark_all("u", HM_INBOX_DO_READ, 1, "b", 0), 3);
	/* a page goes on where it was, whatever arrives meanwhile */
	list_x("u", 7, NULL, 0, 3);
	add("u", 10);
	assert_string_equal(list_x("u", 7, NULL, next, 2), "m6r m5u");
}

static void test_expiry(void **state)
{
	add_x("u", 1, "", "", now + 1000, 200);
	add("u", 2);
	assert_int_equal(add_x("u", 3, "", "", now - 1, 200), HM_INBOX_EXPIRED);
	assert_string_equal(list("u"), "m2u m1u");
	now += 1000;
	assert_string_equal(list("u"), "m2u");
	COUNTED(1, 0, 0);
	assert_int_equal(add("u", 1), HM_INBOX_AGAIN); /* it was there */
	assert_true(expires_ms > T0 + 89 * DAY && expires_ms < T0 + 91 * DAY);
	add_x("u", 4, "", "", now + 400 * DAY, 200); /* no longer than inbox.keep */
	now += 91 * DAY;
	assert_string_equal(list("u"), "");
}

static void test_limits(void **state)
{
	for (unsigned i = 1; i <= 5; i++)
		add_x("u", i, "", "", 0, 5);
	mark_one("u", HM_INBOX_DO_READ, 2);
	mark_one("u", HM_INBOX_DO_ARCHIVE, 4);
	mark_one("u", HM_INBOX_DO_ARCHIVE, 3);
	add_x("u", 6, "", "", 0, 5);
	assert_string_equal(list("u"), "m6u m5u m4a m2r m1u"); /* the oldest archived one */
	add_x("u", 7, "", "", 0, 5);
	assert_string_equal(list("u"), "m7u m6u m5u m2r m1u");
	add_x("u", 8, "", "", 0, 5);
	assert_string_equal(list("u"), "m8u m7u m6u m5u m1u"); /* the oldest read one */
	add_x("u", 9, "", "", 0, 5);
	assert_string_equal(list("u"), "m9u m8u m7u m6u m5u"); /* the oldest */
	add_x("u", 10, "", "", 0, 2);			       /* the limit was lowered */
	assert_string_equal(list("u"), "m10u m9u");
	assert_int_equal(add_x("u", 5, "", "", 0, 2), HM_INBOX_AGAIN);
	/* what is remembered of those that are gone has a limit, too */
	for (unsigned i = 100; i < 100 + HM_INBOX_GONE + 50; i++)
		add_x("u", i, "", "", 0, 1);
	{
		struct answer an;
		char key[200];

		snprintf(key, sizeof(key), "{hm:u%u}:ib:d:u", hm_person_slot(HM_STR("u")));
		ASK(&hub, &an, "ZCARD", key);
		assert_int_equal(an.i, HM_INBOX_GONE);
	}
}

static void test_collapse(void **state)
{
	add_x("u", 1, "", "cart", 0, 200);
	add_x("u", 2, "", "", 0, 200);
	add_x("u", 3, "", "cart", 0, 200);
	assert_string_equal(list("u"), "m3u m2u");
	mark_one("u", HM_INBOX_DO_READ, 3);
	add_x("u", 4, "", "cart", 0, 200); /* what was read stays */
	assert_string_equal(list("u"), "m4u m3r m2u");
	mark_one("u", HM_INBOX_DO_DELETE, 4);
	add_x("u", 5, "", "cart", 0, 200);
	assert_string_equal(list("u"), "m5u m3r m2u");
}

static void test_since_and_listeners(void **state)
{
	struct answer an;

	add("u", 1);
	since("u", 0, "one");
	assert_string_equal(listed, "m1u");
	for (unsigned i = 2; i <= 5; i++)
		add("u", i);
	assert_string_equal(since("u", 1, "one"), "m2u m3u m4u");
	assert_int_equal(next, 4); /* more */
	assert_string_equal(since("u", 4, "two"), "m5u");
	since("u", 5, "three");
	assert_true(refused);
	now += 45001; /* the leases of one and two are over */
	since("u", 5, "three");
	assert_false(refused);
	hm_inbox_leave(&(struct hm_inbox_ref){hub.r, HM_STR("hm"), HM_STR("u"), now, KEEP}, HM_STR("three"));
	/* changes are told only while somebody listens */
	{
		char key[200];

		hm_inbox_live_key(HM_STR("hm"), hm_person_slot(HM_STR("u")), key, sizeof(key));
		ASK(&hub, &an, "XLEN", key);
		assert_int_equal(an.i, 4);
		add("u", 6);
		ASK(&hub, &an, "XLEN", key);
		assert_int_equal(an.i, 4);
	}
}

/* Nothing stays for ever: every key of a user has an end, also one that came back after it was empty. */
static void test_every_key_has_an_end(void **state)
{
	struct answer an;
	char key[200];

	for (unsigned round = 0; round < 3; round++) {
		add_x("u", 10 * round + 1, "", "c", 0, 200);
		add_x("u", 10 * round + 2, "", "c", 0, 200);
		mark_all("u", HM_INBOX_DO_READ, 1, NULL, 0);
		for (const char *k = "ziedmp"; *k != '\0'; k++) {
			snprintf(key, sizeof(key), "{hm:u%u}:ib:%c:u", hm_person_slot(HM_STR("u")), *k);
			ASK(&hub, &an, "PTTL", key);
			if (an.i < (int64_t)(KEEP - 2 * 3600000))
				fail_msg("round %u: %s ends in %lld ms", round, key, (long long)an.i);
		}
		if (round == 0)
			mark_all("u", HM_INBOX_DO_DELETE, 7, NULL, 0);
		else
			now += KEEP + 1000; /* all expire, and somebody looks */
		list("u");
		snprintf(key, sizeof(key), "{hm:u%u}:ib:d:u", hm_person_slot(HM_STR("u")));
		ASK(&hub, &an, "PTTL", key);
		assert_true(an.i > 0);
	}
}

static void on_erased(void *arg, const struct hm_err *err)
{
	done = true;
	assert_null(err);
}

static void test_erase(void **state)
{
	struct hm_inbox_ref w;
	struct answer an;

	add_x("u", 1, "", "c", 0, 200);
	add("u", 2);
	mark_one("u", HM_INBOX_DO_READ, 1);
	mark_one("u", HM_INBOX_DO_DELETE, 2);
	w = who("u");
	done = false;
	hm_inbox_erase(&w, &question, on_erased, NULL);
	RUN_UNTIL(&env, done, 5000);
	ASK(&hub, &an, "DBSIZE");
	assert_int_equal(an.i, 0);
}

static void test_events(void **state)
{
	struct hm_inbox_item items[2] = {{.id = HM_STR("A"), .json = HM_STR("{\"t\":\n1}"), .arrival = 4},
					 {.id = HM_STR("B"), .json = HM_STR("{}"), .arrival = 5}};
	struct hm_inbox_page p = {.counts = {{2, 0, 0}, 5, 9}, .v = items, .n = 2};
	struct inbox_at at = {true, 3, 7};
	struct hm_buf b;
	char *big;

	hm_buf_init(&b, 1 << 20);
	inbox_event_missed(&b, &at, &p);
	assert_true(hm_str_starts(hm_buf_str(&b), HM_STR("event: item\ndata: {\"item\":{\"id\":\"A\"")));
	assert_true(hm_str_find(hm_buf_str(&b), HM_STR("\nid: 5.9\nevent: item\n")) > 0);
	assert_int_equal(hm_str_find(hm_buf_str(&b), HM_STR("\"t\":\n")), -1); /* one line */
	at.v = 6; /* something else changed as well */
	hm_buf_reset(&b);
	inbox_event_missed(&b, &at, &p);
	assert_true(hm_str_starts(hm_buf_str(&b), HM_STR("id: 5.9\nevent: reload\n")));
	at = (struct inbox_at){true, 5, 9};
	hm_buf_reset(&b);
	inbox_event_missed(&b, &at, &p);
	assert_int_equal(b.len, 0);
	at = (struct inbox_at){true, 9, 99}; /* the inbox was erased since */
	inbox_event_missed(&b, &at, &p);
	assert_true(hm_str_starts(hm_buf_str(&b), HM_STR("id: 5.9\nevent: reload\n")));
	/* too large for a stream */
	big = malloc(INBOX_EVENT_MAX + 100);
	memset(big, 'x', INBOX_EVENT_MAX + 100);
	memcpy(big, "{\"t\":\"", 6);
	memcpy(big + INBOX_EVENT_MAX + 98, "\"}", 2);
	items[1].json = hm_str_n(big, INBOX_EVENT_MAX + 100);
	at = (struct inbox_at){true, 3, 7};
	hm_buf_reset(&b);
	inbox_event_missed(&b, &at, &p);
	assert_true(hm_str_starts(hm_buf_str(&b), HM_STR("id: 5.9\nevent: reload\n")) && b.len < 300);
	free(big);
	hm_buf_fini(&b);
	assert_true(inbox_at_parse(HM_STR(""), &at) && !at.known);
	assert_true(inbox_at_parse(HM_STR("12.15"), &at) && at.n == 12 && at.v == 15);
	for (size_t i = 0; i < 6; i++)
		assert_false(inbox_at_parse(hm_str_c((const char *const[]){"12", "a.b", ".", "1.2.3", "-1.2",
									   "9999999999999999999.1"}[i]),
					    &at));
}

static void test_odd_records(void **state)
{
	struct hm_inbox_item x;
	char record[64] = {0};

	memcpy(record + 21, "{}", 2);
	assert_true(hm_inbox_record(hm_str_n(record, 23), &x));
	for (size_t n = 0; n < 23; n++)
		assert_false(hm_inbox_record(hm_str_n(record, n), &x));
	record[18] = 1; /* a category that is not there */
	assert_false(hm_inbox_record(hm_str_n(record, 23), &x));
	record[18] = 0;
	record[20] = (char)0xff;
	assert_false(hm_inbox_record(hm_str_n(record, 23), &x));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_once, fresh),
		cmocka_unit_test_setup(test_states, fresh),
		cmocka_unit_test_setup(test_pages, fresh),
		cmocka_unit_test_setup(test_expiry, fresh),
		cmocka_unit_test_setup(test_limits, fresh),
		cmocka_unit_test_setup(test_collapse, fresh),
		cmocka_unit_test_setup(test_since_and_listeners, fresh),
		cmocka_unit_test_setup(test_every_key_has_an_end, fresh),
		cmocka_unit_test_setup(test_erase, fresh),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_odd_records),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
