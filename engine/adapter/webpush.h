/*
 * webpush.h - bodies only a browser can read, and the token that says who sends
 *
 *   hm_ece_encrypt      content encoding aes128gcm (RFC 8188), any number of records
 *   hm_webpush_encrypt  the same for one subscription (RFC 8291): a key pair and a salt per message, one record
 *   hm_vapid            the header `authorization` (RFC 8292): a JWT per origin, signed twice a day
 *
 * Threads: any; contexts and VAPID tokens are kept per thread. Memory: output goes into the caller's buffer; in steady
 * state nothing is allocated but what OpenSSL does inside a multiplication. Errors: one sentence in *e.
 */
#ifndef HM_ADAPTER_WEBPUSH_H
#define HM_ADAPTER_WEBPUSH_H

#include "adapter/sign.h"

#define HM_ECE_SALT	    16
#define HM_ECE_TAG	    16
#define HM_WEBPUSH_POINT    65 /* P-256, not compressed */
#define HM_WEBPUSH_AUTH	    16
#define HM_WEBPUSH_SCALAR   32
#define HM_WEBPUSH_RECORD   4096 /* rs; also the longest body every push service must take */
#define HM_WEBPUSH_MAX	    (1u << 20)
#define HM_WEBPUSH_OVERHEAD (HM_ECE_SALT + 4 + 1 + HM_WEBPUSH_POINT + 1 + HM_ECE_TAG)

/* ikm: the shared secret; record_size: of a whole record with its delimiter and tag, 18 at least; keyid at most 255 bytes; pad:
 * so many zero bytes hide how long the text is, in the first records.
 * HM_EINVAL when one of them is impossible. */
int hm_ece_encrypt(struct hm_str ikm, struct hm_str salt, uint32_t record_size, struct hm_str keyid,
		   size_t pad, struct hm_str plain, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;

/* p256dh: the subscription's point; auth: its secret, as bytes. salt and scalar (the sender's private key): both empty for
 * fresh ones, which is what everybody but a test wants. HM_EINVAL: the point is not on the curve, a length is wrong.
 * Services take bodies of 4096 bytes; longer ones come out all the same. */
int hm_webpush_encrypt(struct hm_str p256dh, struct hm_str auth, struct hm_str salt, struct hm_str scalar,
		       struct hm_str plain, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;

/* Appends "vapid t=JWT, k=POINT" for the origin of url. A token is good for 12 hours and used for six. subject: mailto: or
 * https: URL of somebody to ask, may be empty. */
#define HM_VAPID_LIFE_S 43200
#define HM_VAPID_USE_S	21600
int hm_vapid(const struct hm_key *key, struct hm_str url, struct hm_str subject, uint64_t now_s,
	     struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;

#endif
