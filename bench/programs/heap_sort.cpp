/*
 * heap_sort MIB: fills a vector of MIB mebibytes with random numbers, sorts it, and prints what a reader can
 * compare: a sum that depends on the order. All of its memory is heap. bench/programs/heap_sort measures it.
 */
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char **argv)
{
    if (argc != 2)
        return std::fprintf(stderr, "usage: heap_sort MIB\n"), 2;
    std::vector<std::uint64_t> numbers((std::strtoul(argv[1], nullptr, 10) << 20) / sizeof(std::uint64_t));
    std::uint64_t state = 1, sum = 0;
    for (auto &number : numbers) {
        state ^= state << 13; /* xorshift64 */
        state ^= state >> 7;
        state ^= state << 17;
        number = state;
    }
    std::sort(numbers.begin(), numbers.end());
    for (auto number : numbers)
        sum = sum * 31 + number;
    std::printf("%016llx\n", static_cast<unsigned long long>(sum));
    return 0;
}
