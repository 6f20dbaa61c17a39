/*
 * HM_MQTT_CONNACK(value, text, sentence): return codes of CONNACK, MQTT 3.1.1 section 3.2.2.3
 *
 * 6 and above are reserved; they are told as "0x06".
 */
/* clang-format off */
HM_MQTT_CONNACK(0, "accepted", "lets the client in")
HM_MQTT_CONNACK(1, "unacceptable-protocol-version", "does not speak MQTT 3.1.1")
HM_MQTT_CONNACK(2, "identifier-rejected", "rejects the client id")
HM_MQTT_CONNACK(3, "server-unavailable", "is not available now")
HM_MQTT_CONNACK(4, "bad-user-name-or-password", "knows no such user and password")
HM_MQTT_CONNACK(5, "not-authorized", "does not let this client in")
/* clang-format on */
