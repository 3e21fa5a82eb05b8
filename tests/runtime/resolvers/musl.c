/* Asks the C library's resolver: `musl KIND:NAME...`, one line for each question (see test_agent_resolvers.py). */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void print_error(int code) {
    printf("!%s", code == EAI_NONAME ? "NXDOMAIN" : code == EAI_AGAIN ? "SERVFAIL" : gai_strerror(code));
}

static void print_name(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char name[256];
    inet_pton(AF_INET, text, &address.sin_addr);
    int code = getnameinfo((struct sockaddr *)&address, sizeof address, name, sizeof name, 0, 0, NI_NAMEREQD);
    if (code) print_error(code);
    else printf("%s", name);
}

static void print_addresses(const char *name, int family) {
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found;
    int code = getaddrinfo(name, "80", &hints, &found);
    if (code) {
        print_error(code);
        return;
    }
    for (struct addrinfo *each = found; each; each = each->ai_next) {
        char text[64];
        getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
        printf("%s%s", each == found ? "" : ",", text);
    }
    freeaddrinfo(found);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct timespec began, ended;
        const char *name = strchr(argv[i], ':') + 1;
        clock_gettime(CLOCK_MONOTONIC, &began);
        printf("%s\t", argv[i]);
        if (!strncmp(argv[i], "PTR:", 4)) print_name(name);
        else print_addresses(name, !strncmp(argv[i], "A:", 2) ? AF_INET : argv[i][0] == 'A' ? AF_INET6 : AF_UNSPEC);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        long ms = (ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000;
        printf("\t%ld\n", ms);
    }
    return 0;
}
