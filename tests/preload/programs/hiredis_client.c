/* A connection for each operation, by hiredis: PORT N. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

static void show(redisReply *reply)
{
	if (!reply)
		printf("none\n");
	else if (reply->type == REDIS_REPLY_INTEGER)
		printf("%lld\n", reply->integer);
	else
		printf("%s\n", reply->str ? reply->str : "nil");
	freeReplyObject(reply);
}

static void operate(redisContext *context, int i)
{
	show(redisCommand(context, "SET k%d %d", i, i));
	show(redisCommand(context, "INCR k%d", i));
	show(redisCommand(context, "GET k%d", i));
	redisAppendCommand(context, "GET k%d", i);
	redisAppendCommand(context, "PING");
	for (int n = 0; n < 2; n++) {
		void *reply = NULL;

		if (redisGetReply(context, &reply) == REDIS_OK)
			show(reply);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 3;
	for (int i = 0; i < atoi(argv[2]); i++) {
		redisContext *context = redisConnect("127.0.0.1", atoi(argv[1]));

		if (!context || context->err)
			return 2;
		operate(context, i);
		redisFree(context);
	}
	return 0;
}
