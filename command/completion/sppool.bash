# Completion of sppool(1) in bash. Needs nothing of bash-completion, but hands the program's own
# arguments to it where it is there.

_sppool() {
	local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} option=

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		_sppool_words run check ps top set flush explain metrics library demo --help --version
		return
	fi
	case $command in
	run)
		_sppool_run
		;;
	check)
		case $current in
		-*) _sppool_words --json --help --version ;;
		*) _sppool_program ;;
		esac
		;;
	ps | top | set | flush | explain | metrics)
		_sppool_option
		"_sppool_$command"
		;;
	demo)
		_sppool_words --requests --help --version
		;;
	library)
		_sppool_words --help --version
		;;
	esac
}

_sppool_ps() {
	case $option in
	'') _sppool_words --json --dir --help --version ;;
	*) _sppool_files ;;
	esac
}

_sppool_top() {
	case $option,$current in
	--sort,*)
		_sppool_words rate pid host protocol in-use parked waiting opened reused reuse refused \
			idle
		;;
	,-*) _sppool_words --once --json --sort --interval --dir --help --version ;;
	,*) _sppool_pids ;;
	--dir,*) _sppool_files ;;
	esac
}

_sppool_set() {
	case $option,$current in
	,-*) _sppool_words --wait --dir --help --version ;;
	,*)
		case $COMP_CWORD in
		2) _sppool_pids ;;
		3) _sppool_stems default max-service-points= ;;
		*) _sppool_stems limit= idle= lease= uses= wait= off= proto= ;;
		esac
		;;
	--dir,*) _sppool_files ;;
	esac
}

_sppool_flush() {
	case $option,$current in
	,-*) _sppool_words --wait --dir --help --version ;;
	,*) ((COMP_CWORD > 2)) || _sppool_pids ;;
	--dir,*) _sppool_files ;;
	esac
}

_sppool_explain() {
	case $option,$current in
	--pid,*) _sppool_pids ;;
	,-*) _sppool_words --pid --dir --help --version ;;
	*) _sppool_files ;;
	esac
}

_sppool_metrics() {
	case $option in
	'') _sppool_words --output --dir --help --version ;;
	*) _sppool_files ;;
	esac
}

# The option whose value is being completed, in $option. Bash takes an = for a word of its own.
_sppool_option() {
	local at=$((COMP_CWORD - 1))

	[ "${COMP_WORDS[at]}" != = ] || ((at -= 1))
	case ${COMP_WORDS[at]} in
	--sort | --interval | --dir | --wait | --pid | --output)
		option=${COMP_WORDS[at]}
		[ "$current" != = ] || current=
		;;
	esac
}

_sppool_pids() {
	_sppool_words "$("${COMP_WORDS[0]}" ps 2>/dev/null | while read -r pid _; do
		[[ $pid == PID ]] || echo "$pid"
	done)"
}

# Words that more is to follow where they end with =.
_sppool_stems() {
	_sppool_words "$@"
	[[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace 2>/dev/null
}

_sppool_words() {
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current")
}

_sppool_files() {
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$current")
}

_sppool_program() {
	compopt -o filenames 2>/dev/null
	case $current in
	*/*) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
	*) mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u) ;;
	esac
}

# Options of ours end where the program begins. Bash takes an = for a word of its own.
_sppool_run() {
	local at=2

	while ((at < COMP_CWORD)); do
		case ${COMP_WORDS[at]} in
		--)
			((at++))
			break
			;;
		--stats | --log)
			[ "${COMP_WORDS[at + 1]}" != = ] || ((at += 2))
			;;
		-*) ;;
		*) break ;;
		esac
		((at++))
	done
	if ((at < COMP_CWORD)); then
		if declare -F _command_offset >/dev/null; then
			_command_offset "$at"
		else
			_sppool_files
		fi
	elif ((at > COMP_CWORD)); then
		_sppool_value
	elif [[ $current == -* && ${COMP_WORDS[COMP_CWORD - 1]} != -- ]]; then
		_sppool_words --stats --log --no-status --help --version
	else
		_sppool_program
	fi
}

# What stands behind the = of an option.
_sppool_value() {
	local option=${COMP_WORDS[COMP_CWORD - 1]}

	if [ "$current" = = ]; then
		current=
	else
		option=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $option in
	--stats) _sppool_files ;;
	--log) _sppool_words 0 1 2 3 ;;
	esac
}

complete -F _sppool sppool
