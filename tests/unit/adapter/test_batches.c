/*
 * test_batches.c - calls with many recipients: what each becomes in the body, who of them fared how, by what id a receipt names them
 */
#include "kit.h"

static struct kit k;

static int setup(void **state)
{
	kit_init(&k);
	return 0;
}
static int teardown(void **state)
{
	kit_fini(&k);
	return 0;
}

#define HEAD \
	"adapter: {name: sms/test, title: T}\nendpoint: {url: https://x.example.com}\nbatch: {max: 1000}\n"
#define ANSWER                                                                                      \
	"answer: {success: status == 200, code: answer.code, provider_id: answer.task}\n"           \
	"outcomes:\n  - {code: \"0\", outcome: ok}\n  - {code: gone, outcome: invalid_recipient}\n" \
	"  - {code: mixed, outcome: invalid_recipient, split: yes}\n  - {code: busy, outcome: "     \
	"rate_limited}\n"

#define TO "{\"to\":[\"+1\",\"+2\",\"+3\",\"+2\"],\"user\":\"u\",\"body\":\"hi\"}"

static void each_target(void **state)
{
	kit_use(&k,
		HEAD "request:\n  path: /\n  json:\n    messages:\n      $each: targets\n"
		     "      $value: {to: '${it.to | unprefix(\"+\")}', ref: '${it.id}', u: '${it.uuid}', n: "
		     "'${it.index}',"
		     " user: '${it.user}', text: '${body}'}\n" ANSWER,
		NULL);
	kit_need_build(&k, "{\"to\":[\"+1\",\"+2\"],\"user\":\"u\",\"body\":\"hi\"}");
	assert_string_equal(kit_c(&k, k.call.body),
			    "{\"messages\":[{\"to\":\"1\",\"ref\":\"01HF7YAT00E008000000000001\",\"u\":"
			    "\"018bcfe5-6800-7000-8000-"
			    "000000000001\",\"n\":0,\"user\":\"u\",\"text\":\"hi\"},"
			    "{\"to\":\"2\",\"ref\":\"01HF7YAT00E008000000000002\",\"u\":\"018bcfe5-6800-7000-"
			    "8000-000000000002\","
			    "\"n\":1,\"user\":\"u\",\"text\":\"hi\"}]}");
	kit_need_build(&k, "{\"to\":\"+1\",\"body\":\"hi\"}");
	assert_non_null(strstr(kit_c(&k, k.call.body), "\"n\":0,\"text\""));
}

/* "index=outcome/reason/id ..." in the order of the recipients. */
static const char *told(const struct hm_verdict *v)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &k.a, 1 << 16);
	for (uint32_t i = 0; i < k.in.n_rcpts; i++)
		for (size_t j = 0; j < v->n_partial; j++) {
			const struct hm_partial *p = &v->partial[j];

			if (p->index != i)
				continue;
			hm_buf_printf(&b, "%s%u=%s/%.*s/%.*s", b.len ? " " : "", i,
				      hm_outcome_name(p->outcome), HM_STRF(p->reason),
				      HM_STRF(p->provider_id));
		}
	hm_buf_putc(&b, '\0');
	return b.p;
}

static void ids_and_failures(void **state)
{
	static const struct {
		const char *partial, *answer, *told;
	} rows[] = {
		/* objects by address; one address twice */
		{"[{from: answer.r, shape: objects, id: it.to, code: it.c, provider_id: it.sid}]",
		 "{\"task\":\"T\",\"r\":[{\"to\":\"+2\",\"c\":0,\"sid\":\"b\"},{\"to\":\"+1\",\"c\":\"gone\","
		 "\"sid\":\"\"},"
		 "{\"to\":\"+3\",\"c\":\"new\"},{\"to\":\"+9\",\"c\":\"gone\"}]}",
		 "0=invalid_recipient/gone/ 1=ok/0/b 2=unknown/new/ 3=ok/0/b"},
		/* by our own id, which the call has echoed */
		{"[{from: answer.r, shape: objects, match: id, id: it.ref, code: it.c, provider_id: it.sid}]",
		 "{\"r\":[{\"ref\":\"01HF7YAT00E008000000000004\",\"c\":0,\"sid\":\"d\"},"
		 "{\"ref\":\"01HF7YAT00E008000000000001\",\"c\":\"gone\"}]}",
		 "0=invalid_recipient/gone/ 3=ok/0/d"},
		{"[{from: answer.r, shape: by_id, match: uuid, ignore_case: true, provider_id: it}]",
		 "{\"r\":{\"018BCFE5-6800-7000-8000-000000000002\":\"x\"}}", "1=ok//x"},
		/* by place */
		{"[{from: answer.r, shape: order, code: 'it.e ?? 0', provider_id: it.id}]",
		 "{\"r\":[{\"id\":\"a\"},{\"e\":\"gone\"},{\"id\":7},{\"e\":\"busy\"},{\"id\":\"e\"}]}",
		 "0=ok/0/a 1=invalid_recipient/gone/ 2=ok/0/7 3=rate_limited/busy/"},
		/* failures by list, ids by place of those who are left */
		{"[{from: answer.bad, shape: list, outcome: invalid_recipient, reason: refused}, {from: "
		 "answer.ids, shape: "
		 "rest, provider_id: it}]",
		 "{\"bad\":[\"+1\"],\"ids\":[\"b\",\"c\",\"d\",\"e\"]}",
		 "0=invalid_recipient/refused/ 1=ok//b 2=ok//c 3=ok//d"},
		{"[{from: answer.ids, shape: rest, provider_id: it}]", "{\"ids\":[\"a\",\"b\"]}",
		 "0=ok//a 1=ok//b"},
		/* a first rule decides, a second one knows the id */
		{"[{from: answer.bad, shape: joined, by: '|', outcome: retry, reason: slow}, {from: "
		 "answer.r, shape: by_id, "
		 "provider_id: it}]",
		 "{\"bad\":\"+3\",\"r\":{\"+3\":\"c\",\"+1\":\"a\"}}", "0=ok//a 2=retry/slow/c"},
		{"[{from: answer.r, shape: by_code}]", "{\"r\":{\"gone\":\"+1,+3\",\"0\":\"+2\"}}",
		 "0=invalid_recipient/gone/ 2=invalid_recipient/gone/"},
		{"[{from: answer.r, shape: by_id}]", "{\"r\":{\"+1\":\"gone\",\"+2\":\"0\"}}",
		 "0=invalid_recipient/gone/"},
		/* lists of filters are lists too */
		{"[{from: 'answer.ids | split(\";\")', shape: rest, provider_id: it}]", "{\"ids\":\"a;b\"}",
		 "0=ok//a 1=ok//b"},
		/* of the wrong shape */
		{"[{from: answer.r, shape: order, provider_id: it}]", "{\"r\":\"a\"}", ""},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *yaml = hm_arena_printf(&k.a,
						   "%srequest: {path: /, json: {a: b}}\n%spartial: %s\n",
						   HEAD, ANSWER, rows[i].partial)
					   .p;
		struct hm_verdict v;

		kit_use(&k, yaml, NULL);
		kit_need_build(&k, TO);
		v = kit_answer(&k, 200, rows[i].answer);
		assert_outcome(v, "ok");
		if (strcmp(told(&v), rows[i].told) != 0)
			fail_msg("row %zu: %s", i, told(&v));
	}
}

/* A thousand recipients, named in the opposite order: no rule walks all of them for each. */
static void many(void **state)
{
	struct hm_buf to, answer;
	struct hm_verdict v;

	hm_buf_init_arena(&to, &k.a, 1 << 20);
	hm_buf_init_arena(&answer, &k.a, 1 << 20);
	hm_buf_lit(&to, "{\"body\":\"b\",\"to\":[");
	hm_buf_lit(&answer, "{\"r\":[");
	for (int i = 0; i < 1000; i++) {
		hm_buf_printf(&to, "%s\"n%d\"", i ? "," : "", i);
		hm_buf_printf(&answer, "%s{\"to\":\"N%d\",\"sid\":\"s%d\"}", i ? "," : "", 999 - i, 999 - i);
	}
	hm_buf_lit(&to, "]}");
	hm_buf_lit(&answer, "]}");
	hm_buf_putc(&to, '\0');
	hm_buf_putc(&answer, '\0');
	kit_use(&k,
		HEAD "request: {path: /, json: {a: b}}\n" ANSWER
		     "partial: [{from: answer.r, shape: objects, ignore_case: true, id: it.to, provider_id: "
		     "it.sid}]\n",
		NULL);
	kit_need_build(&k, to.p);
	v = kit_answer(&k, 200, answer.p);
	assert_outcome(v, "ok");
	assert_int_equal(v.n_partial, 1000);
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(v.partial[i].index, 999 - i);
		assert_string_equal(kit_c(&k, v.partial[i].provider_id),
				    hm_arena_printf(&k.a, "s%zu", 999 - i).p);
	}
}

static void split_rows(void **state)
{
	struct hm_verdict v;

	kit_use(&k, HEAD "request: {path: /, json: {a: b}}\n" ANSWER, NULL);
	kit_need_build(&k, TO);
	v = kit_answer(&k, 400, "{\"code\":\"mixed\"}");
	assert_outcome(v, "invalid_recipient");
	assert_true(v.split);
	v = kit_answer(&k, 400, "{\"code\":\"gone\"}");
	assert_false(v.split);
}

static void mistakes(void **state)
{
	static const struct {
		const char *yaml, *text;
	} rows[] = {
		{"partial: [{from: answer.x, shape: list, outcome: retry, provider_id: it}]\n",
		 "provider_id belongs to"},
		{"partial: [{from: answer.x, shape: objects, id: it.a, match: adress}]\n", "match"},
		{"outcomes: [{code: 1, outcome: ok, split: yes}]\n", "split is for calls that failed"},
	};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *yaml = hm_arena_printf(
					   &k.a, "%srequest: {path: /}\nanswer: {success: status == 200}\n%s",
					   HEAD, rows[i].yaml)
					   .p;

		assert_null(kit_adapter_text(&k, yaml));
		if (strstr(k.errors, rows[i].text) == NULL)
			fail_msg("row %zu: %s", i, k.errors);
	}
}

/* A bucket counts whole requests: a part of one per second is one in a longer time. */
static void fractional_rates(void **state)
{
	static const struct {
		const char *rate;
		uint32_t max;
		uint64_t window_ms;
	} rows[] = {{"0.5/s", 1, 2000}, {"12.5/min", 25, 120000}, {"20/min", 20, 60000},
		    {"1.0/s", 1, 1000}, {"0.125/s", 1, 8000},	  {"1.5/2s", 3, 4000}};
	static const char *const wrong[] = {"0.0/s",   "1./s", ".5/s",	   "0.0001/s",
					    "1.2.3/s", "-1/s", "0.001/day"};

	for (size_t i = 0; i < hm_countof(rows); i++) {
		kit_use(&k, HEAD "request: {path: /}\n" ANSWER,
			hm_arena_printf(&k.a, "    adapter: sms/test\n    rate: %s\n", rows[i].rate).p);
		assert_int_equal(k.c->info.rate.n, 1);
		assert_int_equal(k.c->info.rate.v[0].max, rows[i].max);
		assert_int_equal(k.c->info.rate.v[0].window_ms, rows[i].window_ms);
	}
	for (size_t i = 0; i < hm_countof(wrong); i++)
		if (kit_channel(&k,
				hm_arena_printf(&k.a, "    adapter: sms/test\n    rate: %s\n", wrong[i]).p) !=
		    NULL)
			fail_msg("%s was accepted", wrong[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_target), cmocka_unit_test(ids_and_failures),
		cmocka_unit_test(many),	       cmocka_unit_test(split_rows),
		cmocka_unit_test(mistakes),    cmocka_unit_test(fractional_rates),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
