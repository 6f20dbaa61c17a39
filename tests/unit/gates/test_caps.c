/* Caps: windows, gaps, reserving and settling, many rules, switches, leases, Redis going away. */
#include "stage.h"

static void test_nothing_to_ask(void **state)
{
	struct asked q;

	configure(CHANNELS "categories: {\"*\": {suppression: false}}\n");
	put(&q, message(1, "u"));
	assert_int_equal(q.answers, 1); /* at once, without Redis */
	assert_int_equal(q.a.answer, HM_GATE_PASS);
	assert_false(q.a.reserved);
	configure(CHANNELS
		  "caps: {a: {medium: push, max: 1, per: 1h}}\ncategories: {\"*\": {suppression: false}, k: "
		  "{caps: false, suppression: false}}\n");
	put(&q, message(1, "u"));
	assert_int_equal(q.answers, 1);
	q.a.s.medium = HM_MED_PUSH;
	q.a.s.category = HM_STR("k");
	assert_true(hm_gates_ask(gates, &q.a));
}

static void test_rolling(void **state)
{
	const struct hm_gate_ask *a;
	struct hm_gate_subject s1, s2, s3;

	configure(CHANNELS "caps: {night-sms: {max: 2, per: 24h, when: defer}}\n");
	s1 = message(1, "u");
	a = answer(s1);
	assert_int_equal(a->answer, HM_GATE_PASS);
	assert_true(a->reserved);
	now += HOUR;
	s2 = message(2, "u");
	PASSES(s2);
	now += MINUTE;
	commit(s1); /* accepted an hour and a minute after T0 */
	s3 = message(3, "u");
	a = answer(s3);
	assert_int_equal(a->answer, HM_GATE_CAPPED);
	assert_int_equal(a->policy, HM_POLICY_DEFER);
	assert_int_equal(a->free_at_ms,
			 T0 + HOUR + 24 * HOUR); /* the reservation of 2 is the older one now */
	assert_string_equal(a->reason, "cap night-sms: 2 in 24 h, next 2025-11-24T13:00:00Z");
	PASSES(message(4, "v")); /* somebody else */
	release(s2);
	PASSES(s3);
	commit(s3);
	ANSWERS(message(5, "u"), HM_GATE_CAPPED);
	now = T0 + 25 * HOUR + MINUTE - 1;
	ANSWERS(message(5, "u"), HM_GATE_CAPPED);
	now = T0 + 25 * HOUR + MINUTE;
	PASSES(message(5, "u"));
}

static void test_own_reservation(void **state)
{
	struct hm_gate_subject s;

	configure(CHANNELS "caps: {a: {max: 1, per: 24h}}\n");
	s = message(1, "u");
	PASSES(s);
	PASSES(s); /* a retry */
	ANSWERS(message(2, "u"), HM_GATE_CAPPED);
	commit(s);
	PASSES(s);  /* redelivered after a crash */
	release(s); /* and failed: what was accepted stays counted */
	ANSWERS(message(2, "u"), HM_GATE_CAPPED);
	commit(s);
	commit(s);
	now += 24 * HOUR;
	PASSES(message(2, "u"));
	release(message(2, "u"));
	release(message(2, "u"));
	PASSES(message(3, "u"));
}

static void test_calendar(void **state)
{
	static const struct {
		const char *per, *tz;
		uint64_t at, free;
	} t[] = {
		{"day", "Asia/Shanghai", T0, 1763913600000},   /* 20:00 there; midnight: 16:00Z */
		{"week", "Asia/Shanghai", T0, 1763913600000},  /* Sunday: the same */
		{"month", "Asia/Shanghai", T0, 1764518400000}, /* 2025-11-30T16:00Z */
		{"day", "", T0, 1763942400000},		       /* default_tz: 2025-11-24T00:00Z */
		{"day", "No/Where", T0, 1763942400000},
		{"day", "Europe/Berlin", 1761393600000,
		 1761429600000}, /* 25 Oct 12:00Z, until 22:00Z: still summer */
		{"day", "Europe/Berlin", 1761480000000,
		 1761519600000}, /* 26 Oct 12:00Z, turned back: until 23:00Z */
		{"month", "America/New_York", 1761480000000, 1761969600000}, /* 1 Nov 04:00Z, summer still */
	};

	for (size_t i = 0; i < hm_countof(t); i++) {
		struct hm_gate_subject s;
		const struct hm_gate_ask *a;
		char user[16];

		snprintf(user, sizeof(user), "u%zu", i);
		configure(CHANNELS "caps: {a: {max: 1, per: %s, when: next}}\n", t[i].per);
		now = t[i].at;
		s = message(1, user);
		s.tz = hm_str_c(t[i].tz);
		PASSES(s);
		commit(s);
		now += MINUTE;
		s = message(2, user);
		s.tz = hm_str_c(t[i].tz);
		a = answer(s);
		assert_int_equal(a->answer, HM_GATE_CAPPED);
		assert_int_equal(a->policy, HM_POLICY_NEXT);
		assert_int_equal(a->free_at_ms, t[i].free);
		now = s.now_ms = t[i].free - 1;
		ANSWERS(s, HM_GATE_CAPPED);
		now = s.now_ms = t[i].free;
		s.expires_ms = now + DAY;
		PASSES(s);
	}
}

static void test_min_gap(void **state)
{
	const struct hm_gate_ask *a;
	struct hm_gate_subject s;

	configure(CHANNELS "caps: {a: {min_gap: 10m, when: {route: r}}}\n");
	s = message(1, "u");
	PASSES(s);
	now += MINUTE;
	a = answer(message(2, "u"));
	assert_int_equal(a->answer, HM_GATE_CAPPED);
	assert_int_equal(a->policy, HM_POLICY_ROUTE);
	assert_true(hm_str_is(a->route, "r"));
	assert_int_equal(a->free_at_ms, T0 + 10 * MINUTE);
	assert_string_equal(a->reason, "cap a: 10 min between two, next 2025-11-23T12:10:00Z");
	commit(s); /* a minute later */
	now = T0 + 10 * MINUTE;
	assert_int_equal(answer(message(2, "u"))->free_at_ms, T0 + 11 * MINUTE);
	now = T0 + 11 * MINUTE;
	PASSES(message(2, "u"));
}

/* All or none: a message refused by one rule takes nothing of the others. */
static void test_twenty_rules(void **state)
{
	struct hm_buf b;
	const struct hm_gate_ask *a;

	hm_buf_init(&b, 1 << 16);
	for (int i = 0; i < 18; i++)
		hm_buf_printf(&b, "  all-%d: {max: %d, per: %dh}\n", i, 5 + i, 24 + i);
	configure(CHANNELS "caps:\n%s  sms: {medium: sms, max: 2, per: 1h, when: defer}\n  gap: {medium: "
			   "sms, min_gap: 1m}\n",
		  hm_buf_cstr(&b));
	hm_buf_fini(&b);
	for (unsigned i = 1; i <= 2; i++) {
		struct hm_gate_subject s = message(i, "u");

		PASSES(s);
		commit(s);
		now += 2 * MINUTE;
	}
	for (unsigned i = 10; i < 20; i++) {
		a = answer(message(i, "u"));
		assert_int_equal(a->answer, HM_GATE_CAPPED);
		assert_memory_equal(a->reason, "cap sms:", 8);
		assert_int_equal(a->policy, HM_POLICY_DEFER);
		assert_int_equal(a->free_at_ms, T0 + HOUR);
	}
	for (unsigned i = 3; i <= 5; i++) { /* 3 of the 5 of all-0 are left, for push */
		struct hm_gate_subject s = message(i, "u");

		s.medium = HM_MED_PUSH;
		s.channel = HM_STR("apns");
		PASSES(s);
		commit(s);
	}
	{ /* both kinds of windows say no: the first rule decides, the latest moment counts */
		a = answer(message(20, "u"));
		assert_int_equal(a->answer, HM_GATE_CAPPED);
		assert_memory_equal(a->reason, "cap all-0: 5 in 24 h", 20);
		assert_int_equal(a->policy, HM_POLICY_DROP);
		assert_int_equal(a->free_at_ms, T0 + 24 * HOUR);
	}
}

/* The message goes on to a channel under other rules: what it held under the old ones is free again. */
static void test_moves_on(void **state)
{
	struct hm_gate_subject sms, push;

	configure(CHANNELS "caps: {sms: {medium: sms, max: 1, per: 1h}, push: {medium: push, max: 1, per: "
			   "1h}, all: {max: 2, per: 1h}}\n");
	sms = push = message(1, "u");
	push.medium = HM_MED_PUSH;
	push.channel = HM_STR("apns");
	PASSES(sms);
	PASSES(push);
	PASSES(message(2, "u")); /* sms is free; the second of all */
	commit(push);
	push.msg = message(3, "u").msg;
	ANSWERS(push, HM_GATE_CAPPED);
	release(message(2, "u"));
	ANSWERS(push, HM_GATE_CAPPED);
	PASSES(message(4, "u"));
}

static void test_switches(void **state)
{
	struct hm_gate_subject s;

	configure(CHANNELS "caps: {a: {max: 2, per: 1h}}\n");
	for (unsigned i = 0; i < 5; i++) { /* asked, not counted */
		s = message(i, "u");
		s.count_caps = false;
		PASSES(s);
		assert_false(answer(s)->reserved);
		commit(s);
	}
	for (unsigned i = 10; i < 15; i++) { /* counted, not asked */
		s = message(i, "u");
		s.bypass_caps = true;
		PASSES(s);
		assert_true(answer(s)->reserved);
		commit(s);
	}
	s = message(20, "u");
	ANSWERS(s, HM_GATE_CAPPED);
	s.count_caps = false;
	ANSWERS(s, HM_GATE_CAPPED);
	s.bypass_caps = true; /* neither */
	PASSES(s);
	assert_false(answer(s)->reserved);
	now += HOUR;
	PASSES(message(21, "u"));
	PASSES(message(22, "u"));
	ANSWERS(message(23, "u"), HM_GATE_CAPPED);
}

/* Messages that bypass a cap add up in its list, but not for ever. */
static void test_bypass_is_bounded(void **state)
{
	struct asked q[200];
	struct answer an;

	configure(CHANNELS "caps: {a: {max: 1, per: 24h}}\n");
	for (unsigned k = 0; k < 5; k++) {
		for (unsigned i = 0; i < hm_countof(q); i++) {
			struct hm_gate_subject s = message(k * 1000 + i, "u");

			s.bypass_caps = true;
			put(&q[i], s);
		}
		RUN_UNTIL(&env, q[hm_countof(q) - 1].answers, 10000);
	}
	{
		char key[100];

		snprintf(key, sizeof(key), "{hm:u%u}:c:u:u", hm_person_slot(HM_STR("u")));
		ASK(&hub, &an, "STRLEN", key);
		assert_in_range(an.i, 1 + 21 + 4 + 20 * 65, 1 + 21 + 4 + 20 * (65 + 16));
	}
}

static void test_lease(void **state)
{
	struct hm_gate_subject s, late;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	s = message(1, "u");
	s.expires_ms = now + 10 * MINUTE;
	PASSES(s);
	now += 10 * MINUTE - 1;
	ANSWERS(message(2, "u"), HM_GATE_CAPPED);
	now += 1;
	late = message(2, "u");
	PASSES(late);
	commit(s); /* said at last: it counts from now */
	release(late);
	ANSWERS(message(3, "u"), HM_GATE_CAPPED);
	/* longer than the window: it may be accepted at any moment, so it counts */
	s = message(1, "v");
	PASSES(s);
	now += 2 * HOUR;
	ANSWERS(message(2, "v"), HM_GATE_CAPPED);
	assert_int_equal(answer(message(2, "v"))->free_at_ms, now + SECOND);
	commit(s);
	assert_int_equal(answer(message(2, "v"))->free_at_ms, now + HOUR);
}

/* Nothing is left when the longest window is over. */
static void test_keys_end(void **state)
{
	struct hm_gate_subject s;
	struct answer an;
	char key[100];

	configure(CHANNELS "caps: {a: {max: 1, per: 2h}, b: {min_gap: 3h}}\n");
	snprintf(key, sizeof(key), "{hm:u%u}:c:u:u", hm_person_slot(HM_STR("u")));
	s = message(1, "u");
	s.expires_ms = now + HOUR;
	PASSES(s);
	ASK(&hub, &an, "PTTL", key);
	assert_in_range(an.i, HOUR - 10 * SECOND, HOUR);
	commit(s);
	ASK(&hub, &an, "PTTL", key);
	assert_in_range(an.i, 3 * HOUR - 10 * SECOND, 3 * HOUR);
	ASK(&hub, &an, "STRLEN", key);
	assert_int_equal(an.i, 1 + 21 + 8 + 20);
	s = message(1, "w");
	PASSES(s);
	release(s);
	ASK(&hub, &an, "DBSIZE");
	assert_int_equal(an.i, 1);
}

static void test_person(void **state)
{
	static char user[129], addr[2000];
	struct hm_gate_subject s;

	memset(user, 'x', sizeof(user) - 1);
	memset(addr, 'y', sizeof(addr) - 1);
	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	PASSES(message(1, user));
	ANSWERS(message(2, user), HM_GATE_CAPPED);
	user[100] = 'z';
	PASSES(message(3, user));
	s = message(4, "");
	s.addr = hm_str_c(addr);
	PASSES(s);
	s.msg.b[0]++;
	s.msg.b[15] = 99;
	ANSWERS(s, HM_GATE_CAPPED);
	s.addr = HM_STR("A.User@Example.com");
	PASSES(s);
	s.msg.b[15] = 100;
	s.addr = HM_STR("a.user@example.com");
	ANSWERS(s, HM_GATE_CAPPED);
	s.addr = HM_STR("x"); /* an address is not the user of that name */
	PASSES(s);
	PASSES(message(5, "x"));
}

/* Rules come, go and change their order: what was counted under a name stays. */
static void test_reload(void **state)
{
	struct hm_gate_subject s;

	configure(CHANNELS "caps: {a: {max: 1, per: 24h}, b: {max: 5, per: 1h}}\n");
	s = message(1, "u");
	PASSES(s);
	commit(s);
	configure(CHANNELS "caps: {c: {max: 9, per: month}, b: {max: 5, per: 1h}, a: {max: 2, per: 24h}}\n");
	s = message(2, "u");
	PASSES(s);
	commit(s);
	ANSWERS(message(3, "u"), HM_GATE_CAPPED);
	configure(CHANNELS "caps: {c: {max: 2, per: month}}\n");
	PASSES(message(3, "u")); /* c knows only of message 2 */
	ANSWERS(message(4, "u"), HM_GATE_CAPPED);
}

/* A message may be released and ask again in the same tick; a repeated release changes nothing then. */
static void test_order(void **state)
{
	struct hm_gate_subject s;
	struct asked q, r;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	s = message(1, "u");
	PASSES(s);
	put(&q, s);
	hm_gates_release(gates, &s);
	RUN_UNTIL(&env, q.answers && hm_gates_unsettled(gates) == 0, 5000);
	assert_int_equal(q.a.answer, HM_GATE_PASS);
	ANSWERS(message(2, "u"), HM_GATE_CAPPED);
	now += SECOND;
	s.now_ms = now;
	PASSES(s);
	s.now_ms = T0; /* the old one, late */
	hm_gates_release(gates, &s);
	settled();
	ANSWERS(message(2, "u"), HM_GATE_CAPPED);
	release(s);
	/* cancelled before it left, and on its way */
	put(&q, s);
	hm_gates_cancel(&q.a);
	put(&r, message(2, "u"));
	RUN_UNTIL(&env, r.answers, 5000);
	assert_int_equal(r.a.answer, HM_GATE_PASS);
	release(message(2, "u"));
	put(&q, s);
	server_signal(server, SIGSTOP); /* or the answer may be here before we look */
	for (int i = 0; i < 3; i++)
		uv_run(&env.loop, UV_RUN_NOWAIT);
	hm_gates_cancel(&q.a);
	hm_gates_cancel(&q.a);
	server_signal(server, SIGCONT);
	settled();
	PASSES(message(3, "u"));
	assert_int_equal(q.answers, 0);
}

/* -- a model ------------------------------------------------------------------------------------------- */

/* What should happen, the slow and plain way: events of one person, and the rules each was under. */
#define EVENTS 4096
static struct model_event {
	unsigned id, rules;
	uint64_t t, lease; /* lease 0: committed */
} model[EVENTS];
static size_t n_model;

static const struct model_rule {
	unsigned max;
	uint64_t per, gap;
} model_rules[] = {{3, 20 * MINUTE, 0}, {5, HOUR, 0}, {0, 0, 2 * MINUTE}, {30, 3 * HOUR, 0}};
#define MODEL_RULES                                                                        \
	"caps:\n"                                                                          \
	"  a: {medium: sms, max: 3, per: 20m}\n  b: {max: 5, per: 1h, category: [x, y]}\n" \
	"  c: {medium: [sms, push], category: y, min_gap: 2m}\n  d: {max: 30, per: 3h}\n"

static const struct model_kind {
	unsigned rules; /* bits */
	uint8_t medium;
	const char *category;
} kinds[] = {{1 | 2 | 8, HM_MED_SMS, "x"},
	     {1 | 2 | 4 | 8, HM_MED_SMS, "y"},
	     {2 | 4 | 8, HM_MED_PUSH, "y"},
	     {8, HM_MED_PUSH, "z"}};

static uint64_t memory(unsigned rules)
{
	uint64_t m = 0;

	for (unsigned r = 0; r < 4; r++)
		if (rules >> r & 1)
			m = hm_max(m, hm_max(model_rules[r].per, model_rules[r].gap));
	return m;
}

static void model_remove(size_t i)
{
	model[i] = model[--n_model];
}

static void model_clean(void)
{
	for (size_t i = n_model; i-- > 0;)
		if ((model[i].lease == 0 ? model[i].t + memory(model[i].rules) : model[i].lease) <= now)
			model_remove(i);
}

static struct model_event *model_own(unsigned id, unsigned rules)
{
	for (size_t i = 0; i < n_model; i++)
		if (model[i].id == id && model[i].rules == rules)
			return &model[i];
	return NULL;
}

static void model_drop_reserved(unsigned id, unsigned but)
{
	for (size_t i = n_model; i-- > 0;)
		if (model[i].id == id && model[i].lease && model[i].rules != but)
			model_remove(i);
}

static bool model_ask(unsigned id, unsigned rules, bool ask, bool count, uint64_t lease)
{
	struct model_event *own;

	model_clean();
	own = model_own(id, rules);
	if (own) {
		if (own->lease && count) {
			own->t = now;
			own->lease = lease;
		}
		return true;
	}
	for (unsigned r = 0; ask && r < 4; r++) {
		unsigned n = 0;

		for (size_t i = 0; (rules >> r & 1) && i < n_model; i++) {
			if (model[i].id == id || !(model[i].rules >> r & 1))
				continue;
			n += model[i].lease || model[i].t > now - model_rules[r].per;
			if (model_rules[r].gap && model[i].t + model_rules[r].gap > now)
				return false;
		}
		if (model_rules[r].max && n >= model_rules[r].max)
			return false;
	}
	if (count) {
		model_drop_reserved(id, 0);
		hm_assert(n_model < EVENTS);
		model[n_model++] = (struct model_event){id, rules, now, lease};
	}
	return true;
}

static void model_settle(unsigned id, unsigned rules, bool yes)
{
	struct model_event *own;

	model_clean();
	model_drop_reserved(id, yes ? rules : 0);
	if (!yes)
		return;
	own = model_own(id, rules);
	if (own == NULL)
		model[n_model++] = (struct model_event){id, rules, now, 0};
	else if (own->lease)
		*own = (struct model_event){id, rules, now, 0};
}

static void test_model(void **state)
{
	unsigned seed = 4711, passed = 0, refused = 0, next = 100;
	const char *env_seed = getenv("HM_TEST_SEED");

	if (env_seed)
		seed = (unsigned)atoi(env_seed);
	n_model = 0;
	configure(CHANNELS MODEL_RULES "categories: {\"*\": {suppression: false}}\n");
	for (unsigned step = 0; step < 6000; step++) {
		const struct model_kind *k = &kinds[(unsigned)rand_r(&seed) % 4];
		unsigned dice = (unsigned)rand_r(&seed) % 100;
		unsigned id = next - (unsigned)rand_r(&seed) % 12; /* mostly one that is known */
		struct hm_gate_subject s = message(id, "u");

		s.medium = k->medium;
		s.category = hm_str_c(k->category);
		s.bypass_caps = dice % 17 == 0;
		s.count_caps = dice % 19 != 0;
		s.expires_ms = now + (1 + (unsigned)rand_r(&seed) % 40) * MINUTE;
		if (dice < 60) {
			bool expected = model_ask(id, k->rules, !s.bypass_caps, s.count_caps, s.expires_ms);
			const struct hm_gate_ask *a = answer(s);

			if ((a->answer == HM_GATE_PASS) != expected)
				fail_msg("step %u: message %u, rules %u: %s expected, got %d %s", step, id,
					 k->rules, expected ? "pass" : "refusal", (int)a->answer, a->reason);
			passed += expected;
			refused += !expected;
		} else if (dice < 90) {
			s.count_caps = true;
			model_settle(id, k->rules, dice < 75);
			(dice < 75 ? commit : release)(s);
		} else {
			now += (unsigned)rand_r(&seed) % (dice < 98 ? MINUTE : 10 * MINUTE) +
			       (dice % 2 ? 101 : 0);
		}
		next += (unsigned)rand_r(&seed) % 4 == 0;
	}
	assert_true(passed > 500 && refused > 500);
}

/* -- Redis ---------------------------------------------------------------------------------------------- */

static void test_restart(void **state)
{
	struct hm_gate_subject s;
	unsigned waited = 0;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	server_kill(server);
	RUN_UNTIL(&env, !hub.up, 10000);
	s = message(1, "u");
	ANSWERS(s, HM_GATE_UNANSWERED);
	assert_false(answer(s)->reserved);
	hm_gates_commit(gates, &s); /* waits */
	RUN_WHILE(&env, hm_gates_unsettled(gates) == 1, 200);
	server_run(server);
	assert_true(server_wait(server));
	settled(); /* NOSCRIPT is no obstacle */
	RUN_UNTIL(&env, hub.up, 10000);
	ANSWERS(message(2, "u"), HM_GATE_CAPPED);
	/* killed with questions on the way: every one is answered */
	for (unsigned round = 0; round < 5; round++) {
		static struct asked q[300];
		static char users[300][16];

		for (unsigned i = 0; i < hm_countof(q); i++) {
			snprintf(users[i], sizeof(users[i]), "r%u-%u", round, i);
			put(&q[i], message(i, users[i]));
		}
		for (unsigned i = 0; i < round; i++)
			uv_run(&env.loop, UV_RUN_NOWAIT);
		server_kill(server);
		for (unsigned i = 0; i < hm_countof(q); i++) {
			RUN_UNTIL(&env, q[i].answers == 1, 10000);
			assert_true(q[i].a.answer == HM_GATE_PASS || q[i].a.answer == HM_GATE_UNANSWERED);
			waited += q[i].a.answer == HM_GATE_UNANSWERED;
		}
		server_run(server);
		assert_true(server_wait(server));
		RUN_UNTIL(&env, hub.up && hm_gates_unsettled(gates) == 0, 10000);
	}
	assert_true(waited > 0);
}

/* A key of another type harms its person only; no memory harms nobody for longer than it lasts. */
static void test_redis_errors(void **state)
{
	struct hm_gate_subject s, ok;
	struct answer an;
	char key[100];
	struct asked q, r;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	snprintf(key, sizeof(key), "{hm:u%u}:c:u:u", hm_person_slot(HM_STR("u")));
	ASK(&hub, &an, "LPUSH", key, "x");
	s = message(1, "u");
	ok = message(2, "fine");
	put(&q, s);
	put(&r, ok);
	RUN_UNTIL(&env, q.answers && r.answers, 5000);
	assert_int_equal(q.a.answer, HM_GATE_UNANSWERED);
	assert_non_null(strstr(q.a.reason, "WRONGTYPE"));
	assert_int_equal(r.a.answer, HM_GATE_PASS);
	ASK(&hub, &an, "DEL", key);
	settled();
	ASK(&hub, &an, "CONFIG", "SET", "maxmemory", "1");
	s = message(1, "v");
	ANSWERS(s, HM_GATE_UNANSWERED);
	assert_non_null(strstr(answer(s)->reason, "OOM"));
	hm_gates_commit(gates, &ok);
	RUN_WHILE(&env, hm_gates_unsettled(gates) > 0, 200);
	ASK(&hub, &an, "CONFIG", "SET", "maxmemory", "0");
	settled();
	PASSES(s);
	ANSWERS(message(3, "fine"), HM_GATE_CAPPED);
	now += 30 * MINUTE;
	release(ok);
	ANSWERS(message(3, "fine"), HM_GATE_CAPPED); /* it was committed, after all */
}

/* Several batches in one tick, all plans different. */
static void test_many_at_once(void **state)
{
	static struct asked q[1500];
	static char users[1500][12];
	unsigned pass = 0;

	configure(CHANNELS "caps: {a: {max: 1, per: day}, b: {max: 10, per: 3h}}\n");
	for (unsigned i = 0; i < hm_countof(q); i++) {
		struct hm_gate_subject s;

		snprintf(users[i], sizeof(users[i]), "m%u", i / 2);
		s = message(i, users[i]);
		s.now_ms += i; /* every one has windows of its own */
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
}

static void test_close_with_work(void **state)
{
	struct asked q;
	unsigned before;

	configure(CHANNELS "caps: {a: {max: 1, per: 1h}}\n");
	put(&q, message(1, "u"));
	uv_run(&env.loop, UV_RUN_NOWAIT);
	{
		struct hm_gate_subject s = message(2, "w");

		hm_gates_commit(gates, &s);
	}
	before = q.answers; /* a quick Redis may have answered already */
	gates_close();
	RUN_WHILE(&env, q.answers == before, 50);
	gates_open();
	ANSWERS(message(3, "w"), HM_GATE_CAPPED); /* it was sent on the way out */
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup(fn, stage_fresh)
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_to_ask),  TEST(test_rolling),	 TEST(test_own_reservation),
		TEST(test_calendar),	    TEST(test_min_gap),	 TEST(test_twenty_rules),
		TEST(test_moves_on),	    TEST(test_switches), TEST(test_bypass_is_bounded),
		TEST(test_lease),	    TEST(test_keys_end), TEST(test_person),
		TEST(test_reload),	    TEST(test_order),	 TEST(test_restart),
		TEST(test_redis_errors),    TEST(test_model),	 TEST(test_many_at_once),
		TEST(test_close_with_work),
	};

	return cmocka_run_group_tests(tests, stage_setup, stage_teardown);
}
