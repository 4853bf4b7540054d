#include "pool/tracker.h"

#include "pool/settings.h"
#include "pool/trackers/http1.h"
#include "pool/trackers/memcached.h"
#include "pool/trackers/raw.h"
#include "pool/trackers/resp.h"

/* Every protocol that can be pooled. A new one is a file in trackers/, a line here, and a test. */
static const struct tracker *const trackers[] = {
	&http1_tracker,
	&resp_tracker,
	&memcached_tracker,
};

const struct tracker *tracker_of(long proto)
{
	switch (proto) {
	case PROTO_HTTP:
		return &http1_tracker;
	case PROTO_MEMCACHED:
		return &memcached_tracker;
	case PROTO_RAW:
		return &raw_tracker;
	case PROTO_RESP:
		return &resp_tracker;
	default:
		return NULL;
	}
}

#define TRACKER_COUNT (sizeof(trackers) / sizeof(trackers[0]))

const struct tracker *tracker_for(const uint8_t *data, size_t len, _Bool *undecided)
{
	*undecided = 0;
	for (size_t i = 0; i < TRACKER_COUNT; i++) {
		switch (trackers[i]->recognise(data, len)) {
		case RECOGNISED_YES:
			return trackers[i];
		case RECOGNISED_MORE:
			*undecided = 1;
			break;
		case RECOGNISED_NO:
			break;
		}
	}
	return NULL;
}
