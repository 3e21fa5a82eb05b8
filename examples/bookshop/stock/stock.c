/* The stock, over TCP: a line with a book's id is answered with a line, how many there are. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    const char *id;
    int count;
} books[] = {{"moby", 3}, {"emma", 12}, {"dune", 0}};

static int count(const char *id) {
    for (size_t i = 0; i < sizeof books / sizeof *books; i++)
        if (!strcmp(books[i].id, id))
            return books[i].count;
    return -1;
}

static void serve(int connection) {
    FILE *in = fdopen(connection, "r"), *out = fdopen(dup(connection), "w");
    char line[256];
    while (in && out && fgets(line, sizeof line, in)) {
        line[strcspn(line, "\r\n")] = 0;
        int found = count(line);
        if (found < 0)
            fprintf(out, "no such book\n");
        else
            fprintf(out, "%d\n", found);
        fflush(out);
    }
}

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(7000)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 128)) {
        perror("port 7000");
        return 1;
    }
    signal(SIGCHLD, SIG_IGN); /* children leave nothing to wait for */
    puts("the stock listens on port 7000");
    fflush(stdout);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0 && fork() == 0) {
            close(listener);
            serve(connection);
            exit(0);
        }
        close(connection);
    }
}
