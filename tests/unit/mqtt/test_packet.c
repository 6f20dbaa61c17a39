/* test_packet.c - control packets to the byte, texts and topics: MQTT 3.1.1 without a connection */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "mqtt/packet.h"

static struct hm_buf out;
static struct hm_arena arena;

static int setup(void **state)
{
	hm_buf_init(&out, 1 << 29);
	hm_arena_init(&arena, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return 0;
}

static struct hm_str bytes(const char *hex)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &arena, 1 << 20);
	assert_true(hm_buf_unhex(&b, hm_str_c(hex)));
	return b.len ? hm_buf_str(&b) : HM_STR("");
}

static void assert_out(const char *want)
{
	struct hm_buf b;

	assert_int_equal(out.err, 0);
	hm_buf_init_arena(&b, &arena, 1 << 20);
	hm_buf_hex(&b, out.p, out.len);
	assert_string_equal(hm_buf_cstr(&b), want);
	hm_buf_reset(&out);
}

static void written(void **state)
{
	struct mqtt_connect c = {.client_id = HM_STR("cli-1"),
				 .user = HM_STR("user"),
				 .password = HM_STR("pass"),
				 .keep_alive_s = 60};
	struct mqtt_publish p = {.topic = HM_STR("t/1"), .payload = HM_STR("hello"), .qos = 1, .id = 10};

	mqtt_put_connect(&out, &c);
	assert_out("101d00044d51545404c2003c0005636c692d31000475736572000470617373");
	c.password = HM_STR_NULL;
	mqtt_put_connect(&out, &c);
	assert_out("101700044d5154540482003c0005636c692d31000475736572");
	c.user = HM_STR_NULL;
	c.client_id = HM_STR("");
	c.keep_alive_s = 65535;
	mqtt_put_connect(&out, &c);
	assert_out("100c00044d5154540402ffff0000");

	mqtt_put_publish(&out, &p);
	assert_out("320c0003742f31000a68656c6c6f");
	p.qos = 2;
	p.id = 0x0102;
	p.retain = true;
	mqtt_put_publish(&out, &p);
	assert_out("350c0003742f31010268656c6c6f");
	p.dup = true;
	p.qos = 0;
	p.id = 0;
	p.retain = p.dup = false;
	mqtt_put_publish(&out, &p);
	assert_out("300a0003742f3168656c6c6f");
	p.payload = HM_STR("");
	mqtt_put_publish(&out, &p);
	assert_out("30050003742f31");

	mqtt_put_ack(&out, MQTT_PUBACK, 10);
	assert_out("4002000a");
	mqtt_put_ack(&out, MQTT_PUBREC, 0xffff);
	assert_out("5002ffff");
	mqtt_put_ack(&out, MQTT_PUBREL, 1);
	assert_out("62020001");
	mqtt_put_ack(&out, MQTT_PUBCOMP, 256);
	assert_out("70020100");
	mqtt_put_empty(&out, MQTT_PINGREQ);
	assert_out("c000");
	mqtt_put_empty(&out, MQTT_DISCONNECT);
	assert_out("e000");
}

/* The length at the borders of its one to four bytes, written and read. */
static void lengths(void **state)
{
	static const struct {
		size_t remaining;
		const char *hex;
	} rows[] = {
		{127, "7f"},	   {128, "8001"},	{16383, "ff7f"},
		{16384, "808001"}, {2097151, "ffff7f"}, {2097152, "80808001"},
	};
	char *payload = calloc(1, 2097152);

	for (size_t i = 0; i < hm_countof(rows); i++) {
		struct hm_str len = bytes(rows[i].hex);
		struct mqtt_publish p = {.topic = HM_STR("t"),
					 .payload = hm_str_n(payload, rows[i].remaining - 3)};
		struct mqtt_publish back;
		struct mqtt_packet k;
		size_t eaten;

		mqtt_put_publish(&out, &p);
		assert_int_equal(out.len, mqtt_publish_size(&p));
		assert_int_equal(out.len, 1 + len.len + rows[i].remaining);
		assert_memory_equal(out.p + 1, len.p, len.len);
		assert_int_equal(mqtt_packet_read((const uint8_t *)out.p, out.len, 1 << 28, &k, &eaten),
				 MQTT_READ_WHOLE);
		assert_int_equal(eaten, out.len);
		assert_true(mqtt_publish_read(&k, &back) && hm_str_eq(back.payload, p.payload));
		assert_int_equal(mqtt_packet_read((const uint8_t *)out.p, out.len, out.len - 1, &k, &eaten),
				 MQTT_READ_LONG);
		hm_buf_reset(&out);
	}
	free(payload);
	/* The longest there is, told by its head alone. */
	{
		struct mqtt_packet k;
		size_t eaten;

		assert_int_equal(mqtt_packet_read((const uint8_t *)"\x30\xff\xff\xff\x7f", 5, 268435455u + 5,
						  &k, &eaten),
				 MQTT_READ_MORE);
		assert_int_equal(
			mqtt_packet_read((const uint8_t *)"\x30\xff\xff\xff\x7f", 5, 1000, &k, &eaten),
			MQTT_READ_LONG);
	}
}

static enum mqtt_read read_hex(const char *hex, struct mqtt_packet *k, size_t *eaten_r)
{
	struct hm_str s = bytes(hex);
	/* On the heap, to the byte, for the sanitizer. */
	uint8_t *p = malloc(s.len + 1);
	enum mqtt_read r;
	char *keep;

	memcpy(p, s.p, s.len);
	p = realloc(p, s.len ? s.len : 1);
	r = mqtt_packet_read(p, s.len, 1000, k, eaten_r);
	if (r == MQTT_READ_WHOLE) {
		keep = hm_arena_alloc(&arena, k->body.len + 1);
		memcpy(keep, k->body.p, k->body.len);
		k->body.p = keep;
	}
	free(p);
	return r;
}

static void read_back(void **state)
{
	struct mqtt_packet k;
	struct mqtt_publish p;
	size_t eaten;
	unsigned code;
	uint16_t id;

	assert_int_equal(read_hex("20020000ff", &k, &eaten), MQTT_READ_WHOLE);
	assert_int_equal(eaten, 4);
	assert_true(mqtt_connack_read(&k, &code) && code == 0);
	assert_int_equal(read_hex("20020005", &k, &eaten), MQTT_READ_WHOLE);
	assert_true(mqtt_connack_read(&k, &code) && code == 5);
	/* A session from before, where none was asked for; reserved bits; a length it does not have. */
	assert_int_equal(read_hex("20020100", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_connack_read(&k, &code));
	assert_int_equal(read_hex("20020200", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_connack_read(&k, &code));
	assert_int_equal(read_hex("2003000000", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_connack_read(&k, &code));
	assert_int_equal(read_hex("200100", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_connack_read(&k, &code));

	assert_int_equal(read_hex("4002000a", &k, &eaten), MQTT_READ_WHOLE);
	assert_true(k.type == MQTT_PUBACK && mqtt_ack_read(&k, &id) && id == 10);
	assert_int_equal(read_hex("62021234", &k, &eaten), MQTT_READ_WHOLE);
	assert_true(k.type == MQTT_PUBREL && mqtt_ack_read(&k, &id) && id == 0x1234);
	assert_int_equal(read_hex("50020000", &k, &eaten), MQTT_READ_WHOLE); /* ids begin with 1 */
	assert_false(mqtt_ack_read(&k, &id));
	assert_int_equal(read_hex("5003000100", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_ack_read(&k, &id));
	assert_int_equal(read_hex("d000", &k, &eaten), MQTT_READ_WHOLE);
	assert_true(k.type == MQTT_PINGRESP && k.body.len == 0);

	assert_int_equal(read_hex("3d0c0003742f31000a68656c6c6f", &k, &eaten), MQTT_READ_WHOLE);
	assert_true(mqtt_publish_read(&k, &p));
	assert_true(p.dup && p.retain && p.qos == 2 && p.id == 10 && hm_str_is(p.topic, "t/1") &&
		    hm_str_is(p.payload, "hello"));
	/* A topic longer than the packet, an id that is cut off, a wildcard. */
	assert_int_equal(read_hex("30040003742f", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_publish_read(&k, &p));
	assert_int_equal(read_hex("32040001740a", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_publish_read(&k, &p));
	assert_int_equal(read_hex("300500012368656c6c", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_publish_read(&k, &p));
	assert_int_equal(read_hex("300100", &k, &eaten), MQTT_READ_WHOLE);
	assert_false(mqtt_publish_read(&k, &p));
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"0000",		"f000",		"1000",	    "8202000a", "9003000a00", "c000",
		"e000", /* what no broker sends */
		"2102",		"4102",		"6002000a", "6302000a", "d100",	      "3602", /* flags */
		"30ffffffff7f", "20ffffffffff", /* a length of five bytes */
	};
	struct mqtt_packet k;
	size_t eaten;

	for (size_t i = 0; i < hm_countof(bad); i++)
		if (read_hex(bad[i], &k, &eaten) != MQTT_READ_BAD)
			fail_msg("%s passes", bad[i]);
}

/* Each packet cut at each byte wants more, and nothing beyond its end is eaten. */
static void cut_anywhere(void **state)
{
	static const char *const whole[] = {"20020000",
					    "4002000a",
					    "50020001",
					    "62020001",
					    "7002ffff",
					    "d000",
					    "3d0c0003742f31000a68656c6c6f"};
	struct mqtt_packet k;
	size_t eaten;

	for (size_t i = 0; i < hm_countof(whole); i++) {
		char hex[64];
		size_t n = strlen(whole[i]);

		for (size_t cut = 0; cut < n; cut += 2) {
			memcpy(hex, whole[i], cut);
			hex[cut] = '\0';
			assert_int_equal(read_hex(hex, &k, &eaten), MQTT_READ_MORE);
		}
		snprintf(hex, sizeof(hex), "%sff", whole[i]);
		assert_int_equal(read_hex(hex, &k, &eaten), MQTT_READ_WHOLE);
		assert_int_equal(eaten, n / 2);
	}
}

static void topics(void **state)
{
	static const struct {
		struct hm_str topic;
		const char *problem; /* part of the sentence */
	} rows[] = {
		{HM_STR("t"), NULL},
		{HM_STR("/"), NULL},
		{HM_STR("a//b/"), NULL},
		{HM_STR("$aws/things/x/shadow/update"), NULL},
		{HM_STR("a b"), NULL},
		{HM_STR("l\xc3\xa4mp/\xe4\xbd\xa0\xe5\xa5\xbd/\xf0\x9f\x98\x80"), NULL},
		{HM_STR(""), "empty"},
		{HM_STR("+"), "wildcard"},
		{HM_STR("a/+/b"), "wildcard"},
		{HM_STR("a/#"), "wildcard"},
		{HM_STR("a+b"), "wildcard"},
		{HM_STR("a\0b"), "character"},
		{HM_STR("a\nb"), "character"},
		{HM_STR("a\x7f"), "character"},
		{HM_STR("a\xc2\x85"), "character"},	    /* U+0085 */
		{HM_STR("a\xef\xbf\xbf"), "character"},	    /* U+FFFF */
		{HM_STR("a\xef\xb7\x90"), "character"},	    /* U+FDD0 */
		{HM_STR("a\xf4\x8f\xbf\xbe"), "character"}, /* U+10FFFE */
		{HM_STR("a\xed\xa0\x80"), "character"},	    /* half of a pair */
		{HM_STR("a\xc0\xaf"), "character"},	    /* '/' in two bytes */
		{HM_STR("a\xff"), "character"},
	};
	char *longest = malloc(65536);

	for (size_t i = 0; i < hm_countof(rows); i++) {
		const char *got = mqtt_topic_problem(rows[i].topic);

		if (rows[i].problem ? got == NULL || !strstr(got, rows[i].problem) : got != NULL)
			fail_msg("%.*s: %s", HM_STRF(rows[i].topic), got ? got : "passes");
	}
	memset(longest, 'a', 65536);
	assert_null(mqtt_topic_problem(hm_str_n(longest, 65535)));
	assert_non_null(mqtt_topic_problem(hm_str_n(longest, 65536)));
	free(longest);
}

static void names(void **state)
{
	char hex[5];

	assert_string_equal(mqtt_connack_name(0, hex), "accepted");
	assert_string_equal(mqtt_connack_name(5, hex), "not-authorized");
	assert_string_equal(mqtt_connack_name(6, hex), "0x06");
	assert_string_equal(mqtt_connack_name(255, hex), "0xff");
	assert_non_null(strstr(mqtt_connack_sentence(4), "password"));
	assert_non_null(strstr(mqtt_connack_sentence(77), "does not know"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(written), T(lengths), T(read_back), T(refused), T(cut_anywhere), T(topics), T(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
