/* fuzz_smpp_pdu.c - any bytes as a PDU of an SMSC, a receipt, a text: read without reading beyond, and written back the same */
#include "smpp/pdu.h"
#include "smpp/receipt.h"
#include "smpp/text.h"

static void texts(struct hm_str s)
{
	struct hm_buf out;

	hm_buf_init(&out, 1 << 20);
	for (int a = SMPP_GSM; a <= SMPP_UCS2; a++) {
		hm_buf_reset(&out);
		smpp_text_decode(s, (enum smpp_alphabet)a, &out);
		hm_assert(out.err || hm_utf8_valid(hm_buf_str(&out)));
	}
	hm_buf_fini(&out);
}

static void encoded(struct hm_str s)
{
	static const enum smpp_long how[] = {SMPP_LONG_UDH8, SMPP_LONG_UDH16, SMPP_LONG_SAR,
					     SMPP_LONG_PAYLOAD};
	struct hm_arena a;
	struct hm_err e = {0};
	struct smpp_text t;

	hm_arena_init(&a, NULL, 0);
	for (size_t i = 0; i < hm_countof(how); i++) {
		if (smpp_text_encode(s, (enum smpp_alphabet)(s.len % 4), how[i], &a, &t, &e) < 0)
			continue;
		hm_assert(t.n_parts >= 1 && t.n_parts <= SMPP_MAX_PARTS);
		for (uint32_t p = 0; p < t.n_parts; p++)
			hm_assert(how[i] == SMPP_LONG_PAYLOAD || t.parts[p].len <= 160);
	}
	hm_arena_fini(&a);
}

static void again(const struct smpp_sm *m)
{
	struct smpp_sm back, once = *m;
	struct hm_buf b;

	if (m->message.len > SMPP_MAX_MESSAGE)
		return;
	hm_buf_init(&b, 1 << 20);
	once.sar_total = -1;
	smpp_put_submit(&b, 1, &once, HM_STR(""), false);
	hm_assert(smpp_sm_read(hm_str_n(b.p + SMPP_HEAD, b.len - SMPP_HEAD), &back));
	hm_assert(hm_str_eq(back.message, m->message) && hm_str_eq(back.source, m->source) &&
		  hm_str_eq(back.dest, m->dest) && back.esm_class == m->esm_class &&
		  back.data_coding == m->data_coding);
	hm_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str s = hm_str_n((const char *)data, size), id, text;
	struct smpp_receipt r;
	char out[SMPP_ID_CAP];
	struct smpp_sm m;

	if (size > 65000)
		return 0;
	smpp_submit_resp_read(s, &id, &text);
	for (int radix = SMPP_RADIX_NONE; radix <= SMPP_RADIX_HEX; radix++)
		hm_assert(smpp_id_canonical(id, (enum smpp_radix)radix, out).len < SMPP_ID_CAP);
	(void)smpp_bind_resp_read(s);
	if (smpp_receipt_read(s, &r))
		hm_assert(r.id.len && r.stat.len);
	if (smpp_sm_read(s, &m)) {
		again(&m);
		texts(m.message);
		(void)smpp_receipt_read(m.message, &r);
	}
	if (smpp_data_sm_read(s, &m))
		texts(m.message);
	texts(s);
	encoded(s);
	return 0;
}
