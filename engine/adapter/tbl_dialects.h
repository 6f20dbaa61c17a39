/*
 * HM_DIALECT(name, label, prefix, terminator, day, chain, date header, its form, token header, hash header, nonce header,
 *            signed headers, separator, flags)
 *
 * The family of request signatures that began with AWS Signature Version 4. All of them sign
 *     method, path, query, some headers, their names, hash of the body
 * and differ in the words. `prefix` stands before the secret where the key is derived from it by `chain` (d day, r region, s service,
 * t terminator), which is the scope, too; without a chain the secret itself is the key. `day`: its strftime form. Date forms: b basic
 * ISO (20240102T030405Z), i ISO (2024-01-02T03:04:05Z), u Unix second. Headers that are named and not written by the file are
 * added. Signed are host, content-type and those of the list that are there (name, or beginning with *).
 */
HM_DIALECT(SIGV4, "sigv4", "AWS4-HMAC-SHA256", "AWS4", "aws4_request", "%Y%m%d", "drst", "x-amz-date", 'b',
	   "x-amz-security-token", NULL, NULL, "x-amz-*", ", ", HM_CANON_TWICE)
HM_DIALECT(VOLCENGINE, "volcengine", "HMAC-SHA256", "", "request", "%Y%m%d", "drst", "x-date", 'b',
	   "x-security-token", "x-content-sha256", NULL, "x-date x-content-sha256 x-security-token", ", ", 0)
HM_DIALECT(TC3, "tc3", "TC3-HMAC-SHA256", "TC3", "tc3_request", "%Y-%m-%d", "dst", "x-tc-timestamp", 'u',
	   "x-tc-token", NULL, NULL, "x-tc-action", ", ", HM_CANON_LOWER)
HM_DIALECT(ACS3, "acs3", "ACS3-HMAC-SHA256", "", "", "", "", "x-acs-date", 'i', "x-acs-security-token",
	   "x-acs-content-sha256", "x-acs-signature-nonce", "x-acs-*", ",", HM_CANON_NO_DATE)
HM_DIALECT(HUAWEI, "huawei_sdk", "SDK-HMAC-SHA256", "", "", "", "", "x-sdk-date", 'b', "x-security-token",
	   NULL, NULL, "x-sdk-date", ", ", HM_CANON_SLASH | HM_CANON_ACCESS)
HM_DIALECT(BCE, "bce", "bce-auth-v1", "", "", "", "", "x-bce-date", 'i', "x-bce-security-token", NULL, NULL,
	   "x-bce-date x-bce-security-token", "/", HM_CANON_PREFIX)
