/* HM_PROTOCOL(NAME, text, port, tls_port, sentence): what is spoken to a provider that does not speak HTTP. `text` is the scheme of
 * endpoint.url and names the driver; with an s behind it (smtps://) TLS comes before the first byte. */
HM_PROTOCOL(SMTP, "smtp", 587, 465, "mail by a relay, RFC 5321")
HM_PROTOCOL(SMPP, "smpp", 2775, 3550, "text messages by an SMSC, SMPP 3.4")
HM_PROTOCOL(MQTT, "mqtt", 1883, 8883, "publish to a broker, MQTT 3.1.1")
HM_PROTOCOL(INBOX, "inbox", 1, 1, "an inbox of Hermod's own, in redis.url; its port means nothing")
