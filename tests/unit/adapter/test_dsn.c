/*
 * test_dsn.c - mails about mails: reports of Postfix, Exim and Exchange, complaints, letters, and what is none of these
 */
#include "adapter/callback_body.h"
#include "kit.h"

#define MAILS VECTORS "dsn/"
#define ID    "01HF7YAT00E008000000000001"

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

static struct hm_val mail(const char *name)
{
	return hm_cb_dsn(kit_file(&k, kit_c(&k, hm_arena_printf(&k.a, MAILS "%s.eml", name))), &k.a);
}

static struct hm_val member(const struct hm_val *v, const char *name)
{
	return hm_val_get(v, hm_str_c(name), &k.a);
}

static const char *text(const struct hm_val *v, const char *name)
{
	struct hm_val m = member(v, name);

	return kit_c(&k, hm_val_text(&m, &k.a));
}

/* The n-th recipient; there are `of`. */
static struct hm_val recipient(const struct hm_val *v, uint32_t n, uint32_t of)
{
	struct hm_val list = member(v, "recipients");

	assert_int_equal(hm_val_len(&list), of);
	return hm_val_at(&list, n, NULL, &k.a);
}

static void postfix(void **state)
{
	struct hm_val v = mail("postfix"), r = recipient(&v, 0, 1), report = member(&v, "report"),
		      original = member(&v, "original"), head = member(&v, "head");

	assert_string_equal(text(&v, "kind"), "delivery");
	assert_string_equal(text(&report, "reporting_mta"), "relay.example.com");
	assert_string_equal(text(&report, "x_postfix_queue_id"), "4SV0XQ2k3Xz1Q");
	assert_string_equal(text(&r, "final_recipient"), "nobody@example.net");
	assert_string_equal(text(&r, "original_recipient"), "nobody@example.net");
	assert_string_equal(text(&r, "action"), "failed");
	assert_string_equal(text(&r, "status"), "5.1.1");
	assert_string_equal(text(&r, "remote_mta"), "mx.example.net");
	/* Unfolded; what kind of code it is, is taken off. */
	assert_string_equal(text(&r, "diagnostic_code"),
			    "550 5.1.1 <nobody@example.net>: Recipient address rejected: User unknown in "
			    "local recipient table");
	assert_string_equal(text(&original, "message_id"), "<" ID "@example.com>");
	assert_string_equal(text(&original, "x_hermod_id"), ID);
	assert_string_equal(text(&head, "subject"), "Undelivered Mail Returned to Sender");
}

static void delayed(void **state)
{
	struct hm_val v = mail("postfix_delayed"), r = recipient(&v, 0, 1);

	assert_string_equal(text(&r, "action"), "delayed");
	assert_string_equal(text(&r, "status"), "4.4.1");
	assert_string_equal(text(&r, "will_retry_until"), "Sun, 19 Nov 2023 22:13:20 +0000 (UTC)");
}

static void several(void **state)
{
	static const char *const want[][2] = {{"one@example.net", "failed"},
					      {"two@example.org", "delivered"},
					      {"three@example.edu", "relayed"}};
	struct hm_val v = mail("postfix_several"), report = member(&v, "report");

	assert_string_equal(text(&report, "original_envelope_id"), ID);
	for (uint32_t i = 0; i < 3; i++) {
		struct hm_val r = recipient(&v, i, 3);

		assert_string_equal(text(&r, "final_recipient"), want[i][0]);
		assert_string_equal(text(&r, "action"), want[i][1]);
		assert_string_equal(text(&r, "original_recipient"), "all@lists.example.net");
	}
}

/* Parts within parts, fields in capitals, base64, the whole mail instead of its headers. */
static void shapes(void **state)
{
	struct hm_val v = mail("exchange"), r = recipient(&v, 0, 1), original = member(&v, "original");

	assert_string_equal(text(&r, "status"), "5.1.10");
	assert_string_equal(text(&original, "message_id"), "<" ID "@example.com>");
	v = mail("exchange_full");
	r = recipient(&v, 0, 1);
	assert_string_equal(text(&r, "final_recipient"), "nobody@example.net");
	assert_string_equal(text(&r, "action"), "Failed");
	assert_string_equal(text(&r, "status"), "5.2.2 (mailbox full)");
	v = mail("exim");
	r = recipient(&v, 0, 1);
	assert_string_equal(text(&v, "kind"), "delivery");
	assert_string_equal(text(&r, "diagnostic_code"), "550 no such user here");
	v = mail("complaint");
	original = member(&v, "report");
	assert_string_equal(text(&v, "kind"), "feedback");
	assert_string_equal(text(&original, "feedback_type"), "abuse");
	original = member(&v, "original");
	assert_string_equal(text(&original, "x_hermod_id"), ID);
}

static struct hm_val letter(const char *head, const char *body)
{
	return hm_cb_dsn(hm_arena_printf(&k.a, "%s\r\n\r\n%s", head, body), &k.a);
}

static void letters(void **state)
{
	static const char from[] = "From: MAILER-DAEMON@mx.example.org";
	struct hm_val v = mail("exim_letter"), r = recipient(&v, 0, 1);

	/* 5.5.1.25 in it is an address of the network. */
	assert_string_equal(text(&v, "kind"), "guess");
	assert_string_equal(text(&r, "status"), "5.1.1");
	assert_string_equal(text(&r, "diagnostic_code"), "550");
	v = mail("qmail_letter");
	r = recipient(&v, 0, 1);
	assert_string_equal(text(&r, "final_recipient"), "nobody@example.net");
	assert_string_equal(text(&r, "status"), "5.7.1");
	v = letter("From: x@example.org\r\nX-Failed-Recipients: a@example.net,\r\n b@example.net", "sorry");
	r = recipient(&v, 1, 2);
	assert_string_equal(text(&r, "final_recipient"), "b@example.net");
	assert_string_equal(text(&r, "action"), "failed");
	assert_string_equal(text(&r, "status"), "");

	/* What is no bounce, or not for good, or about nobody. */
	v = mail("vacation");
	assert_string_equal(text(&v, "kind"), "other");
	v = letter("From: a@example.net", "550 5.1.1 b@example.net is not known");
	assert_string_equal(text(&v, "kind"), "other");
	v = letter(from, "451 4.7.1 <b@example.net>: greylisted");
	assert_string_equal(text(&v, "kind"), "other");
	v = letter(from, "b@example.net did not answer for 5 days, IP 5.1.1.1, 5500 bytes, 5.1.1234");
	assert_string_equal(text(&v, "kind"), "other");
	v = letter(from, "550 5.1.1 somebody is not known");
	assert_string_equal(text(&v, "kind"), "other");
	v = letter(from, "550-<b@example.net>. is not known");
	r = recipient(&v, 0, 1);
	assert_string_equal(text(&v, "kind"), "guess");
	assert_string_equal(text(&r, "final_recipient"), "b@example.net");
	assert_int_equal(hm_cb_dsn(HM_STR("no mail at all"), &k.a).t, HM_V_NONE);
	assert_int_equal(hm_cb_dsn(HM_STR(""), &k.a).t, HM_V_NONE);
}

/* Cut anywhere, a report never names somebody it did not name before; the end of the buffer is where ASan sees it. */
static void cut(void **state)
{
	static const char *const names[] = {"postfix",	     "postfix_several", "exim",	    "exchange",
					    "exchange_full", "exim_letter",	"complaint"};

	for (size_t i = 0; i < hm_countof(names); i++) {
		struct hm_str all = kit_file(&k, kit_c(&k, hm_arena_printf(&k.a, MAILS "%s.eml", names[i])));

		for (size_t n = 0; n < all.len; n += 3) {
			struct hm_arena_mark back = hm_arena_mark(&k.a);
			char *exact = malloc(n ? n : 1);
			struct hm_val v, list;

			memcpy(exact, all.p, n);
			v = hm_cb_dsn(hm_str_n(exact, n), &k.a);
			list = member(&v, "recipients");
			for (size_t r = 0; r < hm_val_len(&list); r++) {
				struct hm_val one = hm_val_at(&list, r, NULL, &k.a);
				const char *who = text(&one, "final_recipient");

				assert_true(strlen(who) == 0 || hm_str_find(all, hm_str_c(who)) >= 0 ||
					    i == 4);
			}
			free(exact);
			hm_arena_rewind(&k.a, back);
		}
	}
}

static void limits(void **state)
{
	struct hm_buf b;
	struct hm_val v, list;

	hm_buf_init(&b, 64u << 20);
	hm_buf_lit(&b, "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n");
	for (int i = 0; i < 3000; i++)
		hm_buf_printf(&b, "\r\nFinal-Recipient: rfc822; a%d@example.net\r\nAction: failed\r\n", i);
	v = hm_cb_dsn(hm_buf_str(&b), &k.a);
	list = member(&v, "recipients");
	assert_int_equal(hm_val_len(&list), 1000);
	/* Parts in parts in parts */
	hm_buf_reset(&b);
	for (int i = 0; i < 1000; i++)
		hm_buf_printf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
	v = hm_cb_dsn(hm_buf_str(&b), &k.a);
	assert_string_equal(text(&v, "kind"), "other");
	hm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(postfix), cmocka_unit_test(delayed), cmocka_unit_test(several),
		cmocka_unit_test(shapes),  cmocka_unit_test(letters), cmocka_unit_test(cut),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
