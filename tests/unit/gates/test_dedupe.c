/* Duplicates, suppression, consent; and what comes first when several gates say no. */
#include "stage.h"

static void test_dedupe_key(void **state)
{
	struct hm_gate_subject s, other;
	const struct hm_gate_ask *a;

	configure(CHANNELS "gates: {dedupe_window: 1h}\ncategories: {off: {dedupe: false}}\n");
	s = message(1, "u");
	s.dedupe = HM_STR("order-7");
	a = answer(s);
	assert_int_equal(a->answer, HM_GATE_PASS);
	assert_true(a->reserved);
	PASSES(s); /* its own */
	other = message(2, "u");
	other.dedupe = HM_STR("order-7");
	a = answer(other);
	assert_int_equal(a->answer, HM_GATE_DUPLICATE);
	{
		char id[HM_ULID_TEXT + 1], text[200];

		hm_ulid_text(&s.msg, id);
		snprintf(text, sizeof(text), "duplicate: message %s to this person has the same dedupe key",
			 id);
		assert_string_equal(a->reason, text);
	}
	other.user = HM_STR("v");
	PASSES(other); /* per person */
	other = message(3, "u");
	other.dedupe = HM_STR("order-8");
	PASSES(other);
	other.category = HM_STR("off");
	other.dedupe = HM_STR("order-7");
	PASSES(other);
	release(s); /* not delivered: the next one may be */
	other = message(4, "u");
	other.dedupe = HM_STR("order-7");
	PASSES(other);
	now += 10 * MINUTE;
	commit(other);
	release(other); /* another attempt, later: no matter */
	PASSES(other);
	s.now_ms = now + HOUR - 1;
	s.expires_ms = now + DAY;
	ANSWERS(s, HM_GATE_DUPLICATE);
	s.now_ms++;
	PASSES(s);     /* the caller's clock decides, not Redis' */
	commit(other); /* said again, late: it is another's now */
	other.now_ms = now + HOUR + 1;
	ANSWERS(other, HM_GATE_DUPLICATE);
}

static void test_content(void **state)
{
	struct hm_gate_subject s, other;

	configure(CHANNELS "categories: {\"*\": {content_dedupe: 10m}, off: {content_dedupe: 0}}\n");
	s = message(1, "u");
	s.content_hash = 0x1234;
	PASSES(s);
	other = message(2, "u");
	other.content_hash = 0x1234;
	ANSWERS(other, HM_GATE_DUPLICATE);
	assert_non_null(strstr(answer(other)->reason, "says the same to this person"));
	other.content_hash = 0x1235;
	PASSES(other);
	other.content_hash = 0;
	PASSES(other);
	other.content_hash = 0x1234;
	other.category = HM_STR("off");
	PASSES(other);
	commit(s);
	other.category = HM_STR_NULL;
	other.now_ms = now + 10 * MINUTE - 1;
	ANSWERS(other, HM_GATE_DUPLICATE);
	other.now_ms++;
	PASSES(other);
}

/* A refusal of any gate leaves nothing behind of the others. */
static void test_all_or_nothing(void **state)
{
	struct hm_gate_subject s, other;
	struct answer an;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\ncategories: {\"*\": {content_dedupe: 10m}}\n");
	s = message(1, "u");
	s.dedupe = HM_STR("k1");
	s.content_hash = 7;
	PASSES(s);
	ASK(&hub, &an, "DBSIZE");
	assert_int_equal(an.i, 3);
	other = message(2, "u"); /* capped */
	other.dedupe = HM_STR("k2");
	other.content_hash = 8;
	ANSWERS(other, HM_GATE_CAPPED);
	other.content_hash = 7; /* capped and a duplicate */
	ANSWERS(other, HM_GATE_DUPLICATE);
	ASK(&hub, &an, "DBSIZE");
	assert_int_equal(an.i, 3);
	release(s);
	ASK(&hub, &an, "DBSIZE");
	assert_int_equal(an.i, 0);
}

/* A reservation nobody settles ends with the message. */
static void test_lease(void **state)
{
	struct hm_gate_subject s, other;

	configure(CHANNELS "");
	s = message(1, "u");
	s.dedupe = HM_STR("k");
	s.expires_ms = now + 5 * MINUTE;
	PASSES(s);
	other = message(2, "u");
	other.dedupe = HM_STR("k");
	other.now_ms = now + 5 * MINUTE - 1;
	ANSWERS(other, HM_GATE_DUPLICATE);
	other.now_ms++;
	PASSES(other);
}

/* -- lists ---------------------------------------------------------------------------------------------- */

static void on_changed(void *arg, size_t changed, const struct hm_err *err)
{
	assert_null(err);
	*(size_t *)arg = changed;
}

static void list(struct hm_suppress_entry x, bool add)
{
	size_t changed = SIZE_MAX;

	x.at_ms = now;
	if (add)
		hm_suppress_add(hub.r, HM_STR("hm"), now, &x, 1, on_changed, &changed);
	else
		hm_suppress_remove(hub.r, HM_STR("hm"), now, &x, 1, on_changed, &changed);
	RUN_UNTIL(&env, changed != SIZE_MAX, 5000);
	assert_int_equal(changed, 1);
}

static void suppress_cases(void)
{
	static const struct {
		enum hm_suppress_kind kind;
		int medium;
		const char *category;
		bool hits; /* a message by sms, of category news */
		const char *text;
	} t[] = {
		{HM_SUPPRESS_ADDRESS, HM_MED_SMS, "news", true,
		 "suppressed: the address is on the list for sms, news: unsubscribe"},
		{HM_SUPPRESS_ADDRESS, HM_MED_SMS, "", true,
		 "suppressed: the address is on the list for sms: unsubscribe"},
		{HM_SUPPRESS_ADDRESS, -1, "news", true,
		 "suppressed: the address is on the list for news: unsubscribe"},
		{HM_SUPPRESS_ADDRESS, -1, "", true, "suppressed: the address is on the list: unsubscribe"},
		{HM_SUPPRESS_USER, HM_MED_SMS, "news", true,
		 "suppressed: the user is on the list for sms, news: unsubscribe"},
		{HM_SUPPRESS_USER, -1, "", true, "suppressed: the user is on the list: unsubscribe"},
		{HM_SUPPRESS_USER, HM_MED_PUSH, "", false, NULL},
		{HM_SUPPRESS_USER, -1, "other", false, NULL},
		{HM_SUPPRESS_ADDRESS, HM_MED_PUSH, "news", false, NULL},
	};

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\ncategories: {off: {suppression: false}}\n");
	for (size_t i = 0; i < hm_countof(t); i++) {
		struct hm_suppress_entry x = {
			.kind = t[i].kind,
			.subject = t[i].kind == HM_SUPPRESS_USER ? HM_STR("u") : HM_STR("+491700000000"),
			.medium = t[i].medium,
			.category = hm_str_c(t[i].category),
			.reason = HM_STR("unsubscribe")};
		struct hm_gate_subject s = message(1, "u");
		const struct hm_gate_ask *a;

		s.category = HM_STR("news");
		list(x, true);
		a = answer(s);
		if (a->answer != (t[i].hits ? HM_GATE_SUPPRESSED : HM_GATE_PASS))
			fail_msg("%zu: %d %s", i, (int)a->answer, a->reason);
		if (t[i].hits)
			assert_string_equal(a->reason, t[i].text);
		settled();
		s.category = HM_STR_NULL;
		s.msg.b[15]++;
		if (t[i].hits) /* the other took nothing of the cap */
			ANSWERS(s, t[i].category[0] ? HM_GATE_PASS : HM_GATE_SUPPRESSED);
		release(s);
		s.msg.b[15]--;
		release(s);
		s.category = HM_STR("off");
		PASSES(s);
		release(s);
		list(x, false);
		s.category = HM_STR("news");
		PASSES(s);
		release(s);
	}
}

static void test_suppression(void **state)
{
	struct hm_suppress_entry x = {.kind = HM_SUPPRESS_ADDRESS,
				      .subject = HM_STR("A@Example.com"),
				      .medium = -1,
				      .reason = HM_STR("complaint"),
				      .until_ms = now + HOUR};
	struct hm_gate_subject s;

	suppress_cases();
	list(x, true);
	s = message(5, "w");
	s.addr = HM_STR("a@example.COM");
	ANSWERS(s, HM_GATE_SUPPRESSED);
	s.now_ms = now + HOUR;
	PASSES(s);
}

static void consent_cases(void)
{
	struct hm_suppress_entry x = {.kind = HM_CONSENT_ADDRESS,
				      .subject = HM_STR("+491700000000"),
				      .medium = HM_MED_SMS,
				      .category = HM_STR("news")};
	struct hm_gate_subject s;

	configure(CHANNELS
		  "caps: {a: {max: 1, per: 1h}}\n"
		  "categories: {news: {consent: opt_in}, bare: {consent: opt_in, suppression: false}}\n");
	s = message(1, "u");
	s.category = HM_STR("news");
	ANSWERS(s, HM_GATE_NO_CONSENT);
	assert_string_equal(answer(s)->reason,
			    "no consent: category news needs one, and none is on the list for sms");
	settled();
	list(x, true);
	PASSES(s);
	release(s);
	s.medium = HM_MED_PUSH;
	ANSWERS(s, HM_GATE_NO_CONSENT);
	list(x, false);
	s.medium = HM_MED_SMS;
	settled();
	ANSWERS(s, HM_GATE_NO_CONSENT);
	settled();
	x = (struct hm_suppress_entry){.kind = HM_CONSENT_USER, .subject = HM_STR("u"), .medium = -1};
	list(x, true);
	PASSES(s);
	release(s);
	s.category = HM_STR("bare");
	PASSES(s);
	release(s);
	x = (struct hm_suppress_entry){
		.kind = HM_SUPPRESS_USER, .subject = HM_STR("u"), .medium = -1, .reason = HM_STR("manual")};
	list(x, true);
	PASSES(s);
	release(s);
	s.category = HM_STR("news");
	ANSWERS(s, HM_GATE_SUPPRESSED);
	settled();
	s = message(9,
		    "u"); /* a category that needs no consent; the cap has been left alone by all of that */
	s.category = HM_STR("x");
	list(x, false);
	PASSES(s);
	release(s);
}

static void test_consent(void **state)
{
	consent_cases();
}

/* -- a cluster: the person and the address on different nodes ---------------------------------------------- */

static void test_cluster(void **state)
{
	struct hm_redis_opts o = hub_opts;
	struct server *nodes[3];
	char cmd[400];
	struct client single = hub;
	static struct asked q[400];
	static char users[400][12], addrs[400][16];
	unsigned pass = 0, capped;

	gates_close();
	for (size_t i = 0; i < hm_countof(nodes); i++)
		nodes[i] = server_start(&env, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000",
					NULL);
	snprintf(cmd, sizeof(cmd),
		 "redis-cli --cluster create 127.0.0.1:%d 127.0.0.1:%d 127.0.0.1:%d --cluster-yes >/dev/null "
		 "2>&1",
		 nodes[0]->port, nodes[1]->port, nodes[2]->port);
	assert_int_equal(system(cmd), 0);
	client_open(&hub, &env, o, "redis+cluster://127.0.0.1:%d", nodes[0]->port);
	RUN_UNTIL(&env, hub.up, 20000);
	gates_open();
	assert_int_not_equal(hm_person_slot(HM_STR("u")), hm_person_slot(HM_STR("+491700000000")));
	suppress_cases();
	consent_cases();
	for (unsigned i = 0; i < hm_countof(q); i++) { /* everybody twice, all slots */
		struct hm_gate_subject s;

		snprintf(users[i], sizeof(users[i]), "c%u", i / 2);
		snprintf(addrs[i], sizeof(addrs[i]), "+86%u", i);
		s = message(100 + i, users[i]);
		s.addr = hm_str_c(addrs[i]);
		put(&q[i], s);
	}
	for (unsigned i = 0; i < hm_countof(q); i++) {
		RUN_UNTIL(&env, q[i].answers == 1, 10000);
		pass += q[i].a.answer == HM_GATE_PASS;
		if (q[i].a.reserved)
			hm_gates_commit(gates, &q[i].a.s);
	}
	assert_int_equal(pass, hm_countof(q) / 2);
	settled();
	/* one node is gone: its persons wait, the others do not */
	server_kill(nodes[1]);
	pass = capped = 0;
	for (unsigned i = 0; i < hm_countof(q); i++) {
		struct hm_gate_subject s = message(1000 + i, users[i]);

		s.addr = hm_str_c(addrs[i]);
		put(&q[i], s);
	}
	for (unsigned i = 0; i < hm_countof(q); i++) {
		RUN_UNTIL(&env, q[i].answers == 1, 15000);
		pass += q[i].a.answer == HM_GATE_PASS;
		capped += q[i].a.answer == HM_GATE_CAPPED;
	}
	assert_int_equal(pass, 0); /* everybody has had theirs */
	assert_in_range(capped, 1, hm_countof(q) - 1);
	gates_close();
	client_close(&hub);
	hub = single;
	gates_open();
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup(fn, stage_fresh)
	const struct CMUnitTest tests[] = {
		TEST(test_dedupe_key),	TEST(test_content), TEST(test_all_or_nothing), TEST(test_lease),
		TEST(test_suppression), TEST(test_consent), TEST(test_cluster),
	};

	return cmocka_run_group_tests(tests, stage_setup, stage_teardown);
}
