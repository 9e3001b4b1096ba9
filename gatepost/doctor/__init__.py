"""What is wrong with this machine as a mail server: names, ports, disk, clock, rights, and the services that it leans on.

Each check is a function that looks at a `World` and says what it found, each finding with the way to mend it. What a check cannot
find out is a warning, never ok. Nothing is changed, but for one small file in the state directory that measures the disk.
"""
