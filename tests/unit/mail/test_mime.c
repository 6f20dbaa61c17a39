/*
 * test_mime.c - mails byte by byte
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "mail/mime.h"

static struct hm_buf out;

static int setup(void **state)
{
	hm_buf_init(&out, 1 << 20);
	return 0;
}
static int teardown(void **state)
{
	hm_buf_fini(&out);
	return 0;
}

static const char *text(const char *s, size_t column)
{
	hm_buf_reset(&out);
	hm_mime_text(&out, hm_str_c(s), column);
	return hm_buf_cstr(&out);
}

static const char *quoted(const char *s)
{
	hm_buf_reset(&out);
	hm_mime_quoted(&out, hm_str_c(s));
	return hm_buf_cstr(&out);
}

static void test_header_texts(void **state)
{
	assert_string_equal(text("订单已发货：请查收 🚚", 9),
			    "=?UTF-8?B?6K6i5Y2V5bey5Y+R6LSn77ya6K+35p+l5pS2IPCfmpo=?=");
	assert_string_equal(text("Hello", 9), "Hello");
	assert_string_equal(text("a  b", 9), "=?UTF-8?B?YSAgYg==?=");
	assert_string_equal(text("=?x", 9), "=?UTF-8?B?PT94?=");
	assert_string_equal(text("", 9), "");
	/* whole characters only, each word at most 75, each line at most 76 */
	text("一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十", 9);
	for (const char *p = hm_buf_cstr(&out); p; p = strstr(p, "\r\n ") ? strstr(p, "\r\n ") + 3 : NULL) {
		const char *end = strstr(p, "?=");
		struct hm_buf raw;

		assert_non_null(end);
		assert_true(end + 2 - p <= 75);
		hm_buf_init(&raw, 1000);
		assert_true(hm_buf_unbase64(&raw, hm_str_n(p + 10, (size_t)(end - p - 10))));
		assert_int_equal(raw.len % 3, 0);
		hm_buf_fini(&raw);
	}
	text("a long subject that goes on and on until it has to be folded somewhere, which is before one of "
	     "its blanks",
	     9);
	assert_non_null(strstr(hm_buf_cstr(&out), "\r\n "));
}

static void test_quoted_printable(void **state)
{
	assert_string_equal(quoted("Prix: 10 € = ok"), "Prix: 10 =E2=82=AC =3D ok\r\n");
	assert_string_equal(quoted("a \nb\t\r\nc\rd"), "a=20\r\nb=09\r\nc\r\nd\r\n");
	assert_string_equal(quoted(".x\nFrom me\nFrommage"), "=2Ex\r\n=46rom me\r\nFrommage\r\n");
	assert_string_equal(quoted(""), "");
	for (size_t n = 60; n < 240; n++) { /* an escape is never split, no line is over 76 */
		char s[256];

		memset(s, 'x', n);
		memcpy(s + n, "=\0", 2);
		quoted(s);
		for (const char *p = hm_buf_cstr(&out), *e; (e = strstr(p, "\r\n")) != NULL; p = e + 2)
			assert_true(e - p <= 76);
		assert_non_null(strstr(hm_buf_cstr(&out), "=3D"));
	}
}

static void mail(struct hm_mime *m)
{
	m->from = (struct hm_mime_mailbox){HM_STR("Sender, Jr."), HM_STR("a@example.com")};
	m->to = (struct hm_mime_mailbox){HM_STR(""), HM_STR("b@example.net")};
	m->subject = HM_STR("Hi");
	m->message_id = HM_STR("<1@example.com>");
	m->date_s = 1704164645;
	m->seed = m->message_id;
}

static const char *written(const struct hm_mime *m)
{
	struct hm_err e = {0};

	hm_buf_reset(&out);
	assert_int_equal(hm_mime_write(m, &out, &e), 0);
	return hm_buf_cstr(&out);
}

static void test_text_only(void **state)
{
	struct hm_mime m = {.text = HM_STR("Hello\n")};

	mail(&m);
	assert_string_equal(written(&m), "Date: Tue, 02 Jan 2024 03:04:05 +0000\r\n"
					 "From: \"Sender, Jr.\" <a@example.com>\r\n"
					 "To: b@example.net\r\n"
					 "Subject: Hi\r\n"
					 "Message-ID: <1@example.com>\r\n"
					 "MIME-Version: 1.0\r\n"
					 "Content-Type: text/plain; charset=utf-8\r\n"
					 "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
					 "Hello\r\n");
}

static void test_structure(void **state)
{
	const struct hm_mime_attachment files[] = {
		{.name = HM_STR("发票.pdf"), .type = HM_STR("application/pdf"), .data = HM_STR("%PDF")},
		{.name = HM_STR("a.png"),
		 .type = HM_STR("image/png"),
		 .data = HM_STR("png"),
		 .cid = HM_STR("logo")},
	};
	const struct hm_mime_header headers[] = {
		{HM_STR("List-Unsubscribe"), HM_STR("<https://u.example.com/1>")},
		{HM_STR("X-Empty"), HM_STR("")}};
	struct hm_mime m = {.text = HM_STR("订单已发货"),
			    .html = HM_STR("<b>x</b>"),
			    .attachments = files,
			    .n_attachments = 2,
			    .headers = headers,
			    .n_headers = 2};
	const char *s, *mixed, *related, *alternative;
	char first[20000];

	mail(&m);
	s = written(&m);
	mixed = strstr(s, "multipart/mixed");
	related = strstr(s, "multipart/related");
	alternative = strstr(s, "multipart/alternative");
	assert_true(mixed && related && alternative && mixed < related && related < alternative);
	assert_true(strstr(s, "text/plain") < strstr(s, "text/html"));
	assert_non_null(strstr(s, "Content-Transfer-Encoding: base64\r\n\r\n6K6i5Y2V5bey5Y+R6LSn\r\n"));
	assert_non_null(strstr(s, "filename*=UTF-8''%E5%8F%91%E7%A5%A8.pdf;\r\n filename=\"__.pdf\""));
	assert_non_null(strstr(s, "Content-ID: <logo>"));
	assert_non_null(strstr(s, "List-Unsubscribe: <https://u.example.com/1>\r\n"));
	assert_null(strstr(s, "X-Empty"));
	snprintf(first, sizeof(first), "%s", s);
	assert_string_equal(written(&m), first); /* the same at every attempt */
}

static void refused(struct hm_mime *m, const char *field)
{
	struct hm_err e = {0};

	hm_buf_reset(&out);
	assert_int_equal(hm_mime_write(m, &out, &e), HM_EINVAL);
	assert_string_equal(e.field, field);
}

static void test_injection(void **state)
{
	const struct hm_mime_header evil = {HM_STR("X-A"), HM_STR("a\r\nBcc: c@example.com")};
	const struct hm_mime_header name = {HM_STR("X-A: b\r\nBcc"), HM_STR("a")};
	struct hm_mime good = {.text = HM_STR("x")}, m;

	mail(&good);
	m = good;
	m.subject = HM_STR("a\r\nBcc: c@example.com");
	refused(&m, "subject");
	m = good;
	m.to.addr = HM_STR("b@example.net>\r\nBcc: c@example.com");
	refused(&m, "to");
	m = good;
	m.to.addr = HM_STR("b@example.net, c@example.com");
	refused(&m, "to");
	m = good;
	m.from.name = HM_STR("x\ny");
	refused(&m, "from");
	m = good;
	m.headers = &evil;
	m.n_headers = 1;
	refused(&m, "headers");
	m.headers = &name;
	refused(&m, "headers");
	m = good;
	m.text = HM_STR("");
	refused(&m, "text");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_header_texts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quoted_printable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_structure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_injection, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
