/* test_pdu.c - PDUs to the byte, texts, receipts: SMPP 3.4 without a connection */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapt/measure.h"
#include "smpp/pdu.h"
#include "smpp/receipt.h"
#include "smpp/text.h"

static struct hm_buf out;
static struct hm_arena arena;

static int setup(void **state)
{
	hm_buf_init(&out, 1 << 20);
	hm_arena_init(&arena, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	hm_buf_fini(&out);
	hm_arena_fini(&arena);
	return 0;
}

/* The bytes of a hex text, in the arena. */
static struct hm_str bytes(const char *hex)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &arena, 1 << 20);
	assert_true(hm_buf_unhex(&b, hm_str_c(hex)));
	return b.len ? hm_buf_str(&b) : HM_STR("");
}

static void assert_hex(struct hm_str s, const char *want)
{
	struct hm_buf b;

	hm_buf_init_arena(&b, &arena, 1 << 20);
	hm_buf_hex(&b, s.p, s.len);
	assert_string_equal(hm_buf_cstr(&b), want);
}

static void assert_out(const char *want)
{
	assert_int_equal(out.err, 0);
	assert_hex(hm_buf_str(&out), want);
	hm_buf_reset(&out);
}

static void written(void **state)
{
	struct smpp_bind b = {
		.id = SMPP_BIND_TRANSCEIVER,
		.system_id = HM_STR("SMPP3TEST"),
		.password = HM_STR("secret08"),
		.system_type = HM_STR("SUBMIT1"),
		.address_range = HM_STR(""),
		.ton = 1,
		.npi = 1,
	};
	struct smpp_sm m = {
		.service_type = HM_STR(""),
		.source_ton = 5,
		.source = HM_STR("Acme"),
		.dest_ton = 1,
		.dest_npi = 1,
		.dest = HM_STR("447700900000"),
		.schedule = HM_STR(""),
		.validity = HM_STR(""),
		.registered = 1,
		.message = HM_STR("Hello"),
		.sar_total = -1,
	};
	size_t at;

	smpp_put_bind(&out, 1, &b);
	assert_out(
		"0000002f000000090000000000000001534d50503354455354007365637265743038005355424d49543100340101"
		"00");
	smpp_put_submit(&out, 2, &m, HM_STR(""), false);
	assert_out("0000003600000004000000000000000200050041636d650001013434373730303930303030300000000000000"
		   "10000000548656c6c6f");
	m.dest = HM_STR("8613800000000");
	m.data_coding = 8;
	m.message = bytes("4f60597d");
	smpp_put_submit(&out, 5, &m, HM_STR(""), false);
	assert_out("0000003600000004000000000000000500050041636d650001013836313338303030303030303000000000000"
		   "001000800044f60597d");
	smpp_put_empty(&out, SMPP_ENQUIRE_LINK, 0, 3);
	assert_out("00000010000000150000000000000003");
	smpp_put_empty(&out, SMPP_ENQUIRE_LINK | SMPP_RESP, 0, 3);
	assert_out("00000010800000150000000000000003");
	smpp_put_empty(&out, SMPP_UNBIND, 0, 4);
	assert_out("00000010000000060000000000000004");
	smpp_put_empty(&out, SMPP_UNBIND | SMPP_RESP, 0, 4);
	assert_out("00000010800000060000000000000004");
	smpp_put_empty(&out, SMPP_GENERIC_NACK, SMPP_RINVCMDID, 9);
	assert_out("00000010800000000000000300000009");
	at = smpp_begin(&out, SMPP_DELIVER_SM | SMPP_RESP, 0, 77);
	smpp_put8(&out, 0);
	smpp_end(&out, at);
	assert_out("0000001180000005000000000000004d00");
}

static void written_in_parts(void **state)
{
	struct smpp_sm m = {
		.service_type = HM_STR(""),
		.source = HM_STR("1"),
		.dest = HM_STR("2"),
		.schedule = HM_STR(""),
		.validity = HM_STR("000001000000000R"),
		.message = HM_STR("ab"),
		.sar_total = -1,
	};

	smpp_put_submit(&out, 6, &m, bytes("050003a70201"), false);
	assert_out("0000003b000000040000000000000006000000310000003200400000003030303030313030303030303030305"
		   "2000000000008050003a702016162");
	m.validity = HM_STR("");
	m.sar_ref = 0x1234;
	m.sar_total = 2;
	m.sar_seqnum = 1;
	smpp_put_submit(&out, 7, &m, HM_STR(""), false);
	assert_out("0000003500000004000000000000000700000031000000320000000000000000000002616202"
		   "0c00021234020e000102020f000101");
	m.sar_total = -1;
	smpp_put_submit(&out, 8, &m, HM_STR(""), true);
	assert_out("0000002900000004000000000000000800000031000000320000000000000000000000042400026162");
}

#define RECEIPT                                                                                              \
	"00010134343737303039303030303000050041636d65000400000000000000006b69643a303030383031313532312073"   \
	"75623a30303120646c7672643a303031207375626d697420646174653a3234303130323033303420646f6e652064617465" \
	"3a3234303130323033303520737461743a44454c49565244206572723a30303020746578743a48656c6c6f"
#define RECEIPT_TLVS "001e000737413346303100042700010204230003030000"

static void read_receipt_pdu(void **state)
{
	struct smpp_sm m;
	struct smpp_receipt r;
	struct hm_str whole = bytes(RECEIPT RECEIPT_TLVS), body = bytes(RECEIPT);

	assert_true(smpp_sm_read(whole, &m));
	assert_true(hm_str_is(m.source, "447700900000"));
	assert_true(hm_str_is(m.dest, "Acme"));
	assert_int_equal(m.esm_class, 4);
	assert_true(hm_str_is(m.receipted_id, "7A3F01"));
	assert_int_equal(m.message_state, 2);
	assert_int_equal(m.network_error.len, 3);
	assert_true(smpp_receipt_read(m.message, &r));
	assert_true(hm_str_is(r.id, "0008011521"));
	assert_true(hm_str_is(r.sub, "001"));
	assert_true(hm_str_is(r.dlvrd, "001"));
	assert_true(hm_str_is(r.submit_date, "2401020304"));
	assert_true(hm_str_is(r.done_date, "2401020305"));
	assert_true(hm_str_is(r.stat, "DELIVRD"));
	assert_true(hm_str_is(r.err, "000"));
	assert_true(hm_str_is(r.text, "Hello"));
	assert_string_equal(smpp_state_name(m.message_state), "DELIVRD");
	/* Cut anywhere: bad before the end of the fields, whole behind it; never past its end. */
	for (size_t n = 0; n <= whole.len; n++) {
		char *cut = malloc(n ? n : 1); /* so that a read beyond is seen */

		memcpy(cut, whole.p, n);
		assert_int_equal(smpp_sm_read(hm_str_n(cut, n), &m), n >= body.len);
		free(cut);
	}
}

static void read_rest(void **state)
{
	struct hm_str id, text;
	struct smpp_sm m;
	struct smpp_head h;
	char hex[11];

	smpp_head_read((const uint8_t *)bytes("00000010800000040000005800000002").p, &h);
	assert_int_equal(h.length, 16);
	assert_true(h.id == 0x80000004u);
	assert_int_equal(h.status, 0x58);
	assert_int_equal(h.sequence, 2);
	smpp_submit_resp_read(bytes("37413346303100"), &id, &text);
	assert_true(hm_str_is(id, "7A3F01") && text.len == 0);
	smpp_submit_resp_read(bytes("374133463031"), &id, &text);
	assert_true(hm_str_is(id, "7A3F01"));
	smpp_submit_resp_read(bytes("00001d00056e6f2e2e00"), &id, &text);
	assert_true(id.len == 0 && hm_str_is(text, "no.."));
	smpp_submit_resp_read(HM_STR(""), &id, &text);
	assert_true(id.len == 0 && text.len == 0);
	text = bytes("0000001a800000090000000000000001534d5343000210000134");
	smpp_head_read((const uint8_t *)text.p, &h);
	assert_true(h.length == text.len && h.id == 0x80000009u && h.status == 0 && h.sequence == 1);
	assert_true(hm_str_is(smpp_bind_resp_read(hm_str_n(text.p + 16, text.len - 16)), "SMSC"));
	/* A payload stands in for an empty message; what is no parameter at the end is skipped. */
	assert_true(smpp_sm_read(bytes("0000003100000032000000000000000000000004240002616299"), &m));
	assert_true(hm_str_is(m.message, "ab"));
	assert_true(smpp_data_sm_read(bytes("00000031000000320004010004240002616200"), &m));
	assert_true(hm_str_is(m.message, "ab") && m.esm_class == 4);
	assert_string_equal(smpp_status_name(0x58, hex), "ESME_RTHROTTLED");
	assert_string_equal(smpp_status_name(0x411, hex), "0x00000411");
}

static void lenient_receipts(void **state)
{
	static const struct {
		const char *text, *id, *stat, *err, *done;
	} v[] = {
		{"id:1 stat:DELIVRD", "1", "DELIVRD", "", ""},
		{"ID:ab STAT:UNDELIV ERR:0x1f", "ab", "UNDELIV", "0x1f", ""},
		{"stat: EXPIRED  id: 77 done date: 240102030405 err: 69", "77", "EXPIRED", "69",
		 "240102030405"},
		{"id:5 sub:001 Submit Date:2401020304 Done Date:24-01-02 03:04 stat:MK:0001 err:F Text:id:9 "
		 "stat:X",
		 "5", "MK:0001", "F", "24-01-02 03:04"},
		{"id:5\nstat:DELIVRD\ntext:", "5", "DELIVRD", "", ""},
		{"hello id:3 world stat:ACCEPTD", "3 world", "ACCEPTD", "", ""},
	};
	static const char *const none[] = {"",		"id:1", "stat:DELIVRD", "candid:1 thermostat:2",
					   "id: stat:", "Hi!"};
	struct smpp_receipt r;

	for (size_t i = 0; i < hm_countof(v); i++) {
		assert_true(smpp_receipt_read(hm_str_c(v[i].text), &r));
		assert_true(hm_str_is(r.id, v[i].id));
		assert_true(hm_str_is(r.stat, v[i].stat));
		assert_true(hm_str_is(r.err, v[i].err));
		assert_true(hm_str_is(r.done_date, v[i].done));
	}
	for (size_t i = 0; i < hm_countof(none); i++)
		assert_false(smpp_receipt_read(hm_str_c(none[i]), &r));
}

static void ids(void **state)
{
	char id[SMPP_ID_CAP];
	char long_id[200];

	assert_true(hm_str_is(smpp_id_canonical(HM_STR("7A3F01"), SMPP_RADIX_HEX, id), "8011521"));
	assert_true(hm_str_is(smpp_id_canonical(HM_STR("0008011521"), SMPP_RADIX_DEC, id), "8011521"));
	assert_true(hm_str_is(smpp_id_canonical(HM_STR("0008011521"), SMPP_RADIX_NONE, id), "0008011521"));
	assert_true(hm_str_is(smpp_id_canonical(HM_STR("x-1"), SMPP_RADIX_HEX, id), "x-1"));
	assert_true(hm_str_is(smpp_id_canonical(HM_STR("ffffffffffffffff1"), SMPP_RADIX_HEX, id),
			      "ffffffffffffffff1"));
	assert_true(hm_str_is(smpp_id_canonical(HM_STR(" a,b\x01\xff "), SMPP_RADIX_NONE, id), "ab"));
	assert_int_equal(smpp_id_canonical(HM_STR(""), SMPP_RADIX_DEC, id).len, 0);
	memset(long_id, '7', sizeof(long_id));
	assert_int_equal(smpp_id_canonical(hm_str_n(long_id, sizeof(long_id)), SMPP_RADIX_DEC, id).len, 64);
}

/* The two tables of the alphabet, here and where segments are counted, are the same alphabet. */
static void alphabet(void **state)
{
	unsigned n = 0;

	for (uint32_t cp = 0; cp < 0x11000; cp++) {
		int code = smpp_gsm_code(cp);

		assert_int_equal(code < 0 ? 0 : code < 0x80 ? 1 : 2, hm_gsm_septets(cp));
		n += code >= 0;
	}
	assert_int_equal(n, 127 + 10);
	assert_int_equal(smpp_gsm_code('@'), 0);
	assert_int_equal(smpp_gsm_code(0xC7), 9);
	assert_int_equal(smpp_gsm_code(0x20AC), 0x1B65);
	assert_int_equal(smpp_gsm_code('`'), -1);
	assert_int_equal(smpp_gsm_code(0xE7), -1);
}

static void packed(void **state)
{
	uint8_t p[16];

	assert_hex(hm_str_n((char *)p, smpp_gsm_pack((const uint8_t *)"hellohello", 10, 0, p)),
		   "e8329bfd4697d9ec37");
	assert_hex(hm_str_n((char *)p, smpp_gsm_pack((const uint8_t *)"Hi", 2, 1, p)), "9069");
	/* Seven septets would leave seven zero bits, an '@'. */
	assert_int_equal(smpp_gsm_pack((const uint8_t *)"1234567", 7, 0, p), 7);
	assert_int_equal(p[6] >> 1, '\r');
	hm_buf_reset(&out);
	smpp_text_decode(bytes("e8329bfd4697d9ec37"), SMPP_GSM_PACKED, &out);
	assert_string_equal(hm_buf_cstr(&out), "hellohello");
	hm_buf_reset(&out);
	smpp_text_decode(hm_str_n((char *)p, 7), SMPP_GSM_PACKED, &out);
	assert_string_equal(hm_buf_cstr(&out), "1234567");
}

static struct smpp_text encode(const char *utf8, enum smpp_alphabet want, enum smpp_long how)
{
	struct smpp_text t;
	struct hm_err e = {0};

	if (smpp_text_encode(hm_str_c(utf8), want, how, &arena, &t, &e) < 0)
		fail_msg("%s", e.text);
	return t;
}

static const char *repeat(const char *s, size_t n)
{
	char *p = hm_arena_alloc(&arena, strlen(s) * n + 1);

	p[0] = '\0';
	for (size_t i = 0, len = strlen(s); i < n; i++)
		memcpy(p + i * len, s, len + 1);
	return p;
}

static void texts(void **state)
{
	struct smpp_text t = encode("Hi {\xe2\x82\xac}@", SMPP_GSM, SMPP_LONG_UDH8);

	assert_int_equal(t.alphabet, SMPP_GSM);
	assert_hex(t.parts[0], "4869201b281b651b2900");
	t = encode("\xe4\xbd\xa0\xe5\xa5\xbd\xf0\x9f\x98\x80", SMPP_GSM, SMPP_LONG_UDH8); /* 你好😀 */
	assert_int_equal(t.alphabet, SMPP_UCS2);
	assert_hex(t.parts[0], "4f60597dd83dde00");
	t = encode("caf\xc3\xa9 \xc3\xa7", SMPP_LATIN1, SMPP_LONG_UDH8);
	assert_hex(t.parts[0], "636166e920e7");
	t = encode("\xe2\x82\xac", SMPP_LATIN1, SMPP_LONG_UDH8);
	assert_int_equal(t.alphabet, SMPP_UCS2);
	t = encode("Hi", SMPP_UCS2, SMPP_LONG_UDH8);
	assert_hex(t.parts[0], "00480069");
	t = encode("", SMPP_GSM, SMPP_LONG_UDH8);
	assert_int_equal(t.n_parts, 1);
	assert_int_equal(t.parts[0].len, 0);
	t = encode("hellohello", SMPP_GSM_PACKED, SMPP_LONG_UDH8);
	assert_hex(t.parts[0], "e8329bfd4697d9ec37");
}

static void parts(void **state)
{
	static const struct {
		const char *one;
		size_t times;
		enum smpp_alphabet want;
		enum smpp_long how;
		uint32_t n;
		size_t first, last; /* octets */
	} v[] = {
		{"a", 160, SMPP_GSM, SMPP_LONG_UDH8, 1, 160, 160},
		{"a", 161, SMPP_GSM, SMPP_LONG_UDH8, 2, 153, 8},
		{"a", 153 * 5, SMPP_GSM, SMPP_LONG_UDH8, 5, 153, 153},
		{"a", 161, SMPP_GSM, SMPP_LONG_UDH16, 2, 152, 9},
		{"a", 161, SMPP_GSM, SMPP_LONG_SAR, 2, 153, 8},
		{"a", 3000, SMPP_GSM, SMPP_LONG_PAYLOAD, 1, 3000, 3000},
		{"{", 80, SMPP_GSM, SMPP_LONG_UDH8, 1, 160, 160},
		{"{", 81, SMPP_GSM, SMPP_LONG_UDH8, 2, 152, 10}, /* no escape at the end of a part */
		{"\xe4\xbd\xa0", 70, SMPP_GSM, SMPP_LONG_UDH8, 1, 140, 140},
		{"\xe4\xbd\xa0", 71, SMPP_GSM, SMPP_LONG_UDH8, 2, 134, 8},
		{"\xe4\xbd\xa0", 71, SMPP_GSM, SMPP_LONG_UDH16, 2, 132, 10},
		{"\xf0\x9f\x98\x80", 35, SMPP_GSM, SMPP_LONG_UDH8, 1, 140, 140},
		{"\xf0\x9f\x98\x80", 36, SMPP_GSM, SMPP_LONG_UDH8, 2, 132, 12}, /* no half of a pair */
		{"\xc3\xa9", 140, SMPP_LATIN1, SMPP_LONG_UDH8, 1, 140, 140},
		{"\xc3\xa9", 141, SMPP_LATIN1, SMPP_LONG_UDH16, 2, 133, 8},
		{"a", 160, SMPP_GSM_PACKED, SMPP_LONG_UDH8, 1, 140, 140},
		{"a", 161, SMPP_GSM_PACKED, SMPP_LONG_UDH8, 2, 134, 8},
		{"a", 153 * 255, SMPP_GSM, SMPP_LONG_UDH8, 255, 153, 153},
	};
	struct smpp_text t;
	struct hm_err e = {0};

	for (size_t i = 0; i < hm_countof(v); i++) {
		t = encode(repeat(v[i].one, v[i].times), v[i].want, v[i].how);
		assert_int_equal(t.n_parts, v[i].n);
		assert_int_equal(t.parts[0].len, v[i].first);
		assert_int_equal(t.parts[t.n_parts - 1].len, v[i].last);
	}
	assert_int_equal(smpp_text_encode(hm_str_c(repeat("a", 153 * 255 + 1)), SMPP_GSM, SMPP_LONG_UDH8,
					  &arena, &t, &e),
			 HM_ELIMIT);
	assert_int_equal(
		smpp_text_encode(hm_str_c(repeat("a", 65536)), SMPP_GSM, SMPP_LONG_PAYLOAD, &arena, &t, &e),
		HM_ELIMIT);
}

/* What a text becomes and back is the text; joined parts are the whole. */
static void there_and_back(void **state)
{
	static const char *const v[] = {"Hello @ \xc2\xa3$ {}[]~|^\\ \xe2\x82\xac\n",
					"\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80 ok",
					"\xce\x94\xce\xa9 \xc3\x84\xc3\xb6"};

	for (size_t i = 0; i < hm_countof(v); i++) {
		for (size_t times = 1; times < 40; times += 9) {
			const char *text = repeat(v[i], times);
			struct smpp_text t = encode(text, SMPP_GSM, SMPP_LONG_UDH8);

			hm_buf_reset(&out);
			for (uint32_t p = 0; p < t.n_parts; p++)
				smpp_text_decode(t.parts[p], t.alphabet, &out);
			assert_string_equal(hm_buf_cstr(&out), text);
		}
	}
	hm_buf_reset(&out);
	smpp_text_decode(bytes("d83d0041dc00ff"), SMPP_UCS2, &out); /* halves of pairs, an odd byte */
	assert_string_equal(hm_buf_cstr(&out), "\xef\xbf\xbd"
					       "A\xef\xbf\xbd\xef\xbf\xbd");
	hm_buf_reset(&out);
	smpp_text_decode(bytes("41801b411b"), SMPP_GSM, &out);
	assert_string_equal(hm_buf_cstr(&out), "A\xef\xbf\xbd"
					       "A ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(written, setup, teardown),
		cmocka_unit_test_setup_teardown(written_in_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(read_receipt_pdu, setup, teardown),
		cmocka_unit_test_setup_teardown(read_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(lenient_receipts, setup, teardown),
		cmocka_unit_test_setup_teardown(ids, setup, teardown),
		cmocka_unit_test_setup_teardown(alphabet, setup, teardown),
		cmocka_unit_test_setup_teardown(packed, setup, teardown),
		cmocka_unit_test_setup_teardown(texts, setup, teardown),
		cmocka_unit_test_setup_teardown(parts, setup, teardown),
		cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
