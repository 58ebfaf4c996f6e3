# sh judge.sh PROGRAM CASES: runs the program on every CASES/*.in, and compares what it prints with the *.out beside it.
program=$1
for input in "$2"/*.in; do
    wardian run --policy judge --stdin "$input" --report report.json "$program" > output.txt 2> errors.txt
    verdict=$(python3 -c '
import json
report = json.load(open("report.json"))
print("output_lost" if "write_error" in report["stdout"] else report["verdict"])')
    case $verdict in
    ok) if diff -bB output.txt "${input%.in}.out" > difference.txt; then result=AC; else result=WA; fi ;;
    time_limit) result=TLE ;;
    memory_limit) result=MLE ;;
    output_limit) result=OLE ;;
    nonzero_exit | signaled | disk_limit | process_limit | policy_violation) result=RE ;;
    *) echo "not judged: ${verdict:-no report}" && cat errors.txt && exit 1 ;;
    esac
    echo "$(basename "$input" .in) $result"
done
