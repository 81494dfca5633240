/*
 * map_threads.cpp: a program that knows nothing of Faultline: threads fill maps of strings, walk them and look
 * things up. Usage: map_threads ELEMENTS, of each thread.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

static uint64_t work(uint64_t thread, uint64_t n)
{
    std::map<uint64_t, std::string> map;
    uint64_t result = 0;

    for (uint64_t i = 0; i < n; i++)
        map[i * 4 + thread] = std::string(500 + mix(i) % 300, static_cast<char>('a' + i % 26));
    for (const auto &[key, value] : map)
        result = mix(result + key) + value.size() + static_cast<unsigned char>(value[0]);
    for (uint64_t i = 0; i < n; i += 3)
        map.erase(i * 4 + thread);
    for (uint64_t i = 0; i < n / 50; i++) {
        auto found = map.find(mix(i) % n * 4 + thread);

        if (found != map.end())
            result = mix(result + static_cast<unsigned char>(found->second[1]));
    }
    return result + map.size();
}

int main(int argc, char **argv)
{
    uint64_t n = argc == 2 ? strtoull(argv[1], nullptr, 10) : 0;
    uint64_t results[4];
    std::vector<std::thread> threads;

    if (n == 0)
        return 2;
    for (uint64_t i = 0; i < 4; i++)
        threads.emplace_back([&results, i, n] { results[i] = work(i, n); });
    for (auto &thread : threads)
        thread.join();
    for (uint64_t result : results)
        printf("%016llx\n", static_cast<unsigned long long>(result));
    return 0;
}
