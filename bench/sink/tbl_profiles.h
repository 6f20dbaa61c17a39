/* SINK_PROFILE(name): file profile_<name>.c; order = who is asked first, echo takes the rest */
SINK_PROFILE(apns)
SINK_PROFILE(fcm)
SINK_PROFILE(wecom)
SINK_PROFILE(webhook)
SINK_PROFILE(smtp)
SINK_PROFILE(smpp)
SINK_PROFILE(echo)
